//! The events of a job, read from server-sent events.

use reqwest::Response;

use super::{ClientError, Result};
use crate::JobEvent;

/// The events of a job, in order, until it ends or the connection breaks.
#[derive(Debug)]
pub struct JobEvents {
    path: String,
    response: Response,
    /// Bytes that were read and hold no whole event yet.
    rest: Vec<u8>,
}

impl JobEvents {
    pub(super) fn new(path: String, response: Response) -> Self {
        Self { path, response, rest: Vec::new() }
    }

    /// The next event; `None` when the node has ended the stream.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks, or an event has another form. Follow the job
    /// again after the last event's `seq` then.
    pub async fn next(&mut self) -> Result<Option<JobEvent>> {
        loop {
            if let Some(block) = block(&mut self.rest) {
                let Some(data) = data(&block) else { continue };
                let event = serde_json::from_str(&data);
                return event.map(Some).map_err(|source| {
                    let path = self.path.clone();
                    ClientError::Unexpected { path, source }
                });
            }
            let chunk = self.response.chunk().await;
            match chunk.map_err(ClientError::unreachable(self.response.url().as_str()))? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

/// Takes the first whole block, up to its empty line.
fn block(rest: &mut Vec<u8>) -> Option<String> {
    let end = rest.windows(2).position(|pair| pair == b"\n\n")?;
    let block = rest.drain(..end + 2).take(end).collect::<Vec<u8>>();
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// The data of a block; `None` for comments.
fn data(block: &str) -> Option<String> {
    let lines = block.lines().filter_map(|line| line.strip_prefix("data:"));
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::{block, data};

    #[test]
    fn blocks_come_whole_and_comments_have_no_data() {
        let mut rest = b": ping\n\nid: 1\ndata: {\"a\"\ndata: :1}\n\nid: 2\ndata".to_vec();
        assert_eq!(data(&block(&mut rest).unwrap()), None);
        assert_eq!(data(&block(&mut rest).unwrap()).unwrap(), "{\"a\"\n:1}");
        assert_eq!(block(&mut rest), None);
        assert_eq!(rest, b"id: 2\ndata");
    }
}
