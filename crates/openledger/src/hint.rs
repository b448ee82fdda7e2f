//! What to do about an error, in the words of the command line.
//!
//! Errors of lower floors and problems of a node name what is wrong with which input, and no option
//! of this program. **Not here:** refusals of this program's own, whose messages end with what to
//! do.

use std::io::ErrorKind;

use openledger_api::Problem;
use openledger_api::client::ClientError;
use openledger_attribution::folder::FolderError;
use openledger_chain::flow::FlowError;
use openledger_chain::rpc::RpcError;
use openledger_chain::sender::SendError;
use openledger_factory::FactoryError;

use crate::error::CliError;

/// What to do when a node wants other credentials.
const CREDENTIALS: &str = "name the operator's token by --token-file (`operator.token` in the node's data folder), \
                           or a channel's API key by --api-key-file where the verb takes one";

/// What to do about an error; `None` where its message says it.
pub(crate) fn of(error: &CliError) -> Option<&str> {
    match error {
        CliError::Node(error) => of_call(error),
        CliError::Flow(error) => match error.as_ref() {
            FlowError::Send(error) => of_transaction(error),
            FlowError::Rpc(error) => of_rpc(error),
            _ => None,
        },
        CliError::Send(error) => of_transaction(error),
        CliError::Rpc(error) => of_rpc(error),
        CliError::Factory(FactoryError::OutputExists { .. }) => Some("name another folder by --out, or empty this one"),
        CliError::Folder(FolderError::Changed { .. }) => Some("build the index or cache again from these files"),
        CliError::Records { .. } => Some("change these lines and type the command again"),
        CliError::File { source, .. } => match source.kind() {
            ErrorKind::NotFound => Some("check the path; without a leading / it begins in the current folder"),
            ErrorKind::PermissionDenied => Some("change the permissions of the path, or name another"),
            _ => None,
        },
        CliError::Json { .. } => Some("get the file again, unchanged"),
        CliError::Encode(_) => Some("this is a defect of the program: report it with the command"),
        _ => None,
    }
}

fn of_call(error: &ClientError) -> Option<&str> {
    match error {
        ClientError::Refused(problem) => of_problem(problem),
        // The request was never sent.
        ClientError::Unreachable { source, .. } if source.is_builder() => {
            Some("write --node with scheme, host and port: http://127.0.0.1:7070")
        }
        ClientError::Unreachable { .. } => Some("start a local network by `openledger dev`, or name a node by --node"),
        ClientError::Unexpected { .. } => Some("name a node by --node whose version is that of this program"),
        _ => None,
    }
}

fn of_problem(problem: &Problem) -> Option<&str> {
    match (problem.status, problem.code.as_str()) {
        (401, _) | (403, "forbidden" | "operator-only") => Some(CREDENTIALS),
        _ => Some(problem.what_to_do.as_str()).filter(|text| !text.is_empty()),
    }
}

fn of_transaction(error: &SendError) -> Option<&'static str> {
    match error {
        SendError::NotTaken { .. } => Some("give the signing account coins for gas, and type the command again"),
        SendError::NotMined { .. } => {
            Some("look the transaction up before you repeat the command: it may be mined yet")
        }
        SendError::Rpc(error) => of_rpc(error),
        _ => None,
    }
}

fn of_rpc(error: &RpcError) -> Option<&'static str> {
    match error {
        RpcError::Transport { .. } => Some("check the URL of the network, and type the command again"),
        RpcError::Malformed { .. } => Some("check that the URL is that of an Ethereum JSON-RPC"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use openledger_api::client::Client;

    use super::*;

    fn refused(status: u16, code: &str) -> CliError {
        ClientError::Refused(Box::new(Problem::new(status, code, "the detail"))).into()
    }

    #[test]
    fn a_problem_of_the_node_comes_with_what_to_do_and_credentials_with_their_options() {
        assert_eq!(of(&refused(404, "not-found")), Some("Check the id or name."));
        for (status, code) in [(401, "unauthenticated"), (403, "operator-only")] {
            assert!(of(&refused(status, code)).unwrap().contains("--token-file"), "{code}");
        }
    }

    #[tokio::test]
    async fn an_address_without_a_scheme_is_told_from_a_node_that_does_not_run() {
        let told = async |node: &str| {
            let error = CliError::from(Client::new(node).unwrap().network().await.unwrap_err());
            of(&error).unwrap().to_owned()
        };
        assert!(told("127.0.0.1:7070").await.contains("http://127.0.0.1:7070"));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(told(&format!("http://{closed}")).await.contains("openledger dev"));
    }
}
