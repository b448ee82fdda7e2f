//! Handles: one account for a name, however it is typed.

use std::collections::BTreeSet;

use openledger_api::{Handle, PageQuery};
use openledger_protocol::Address;

use super::{code, store};
use crate::config::PlatformAccounts;
use crate::handles::Handles;

const PLATFORM: PlatformAccounts = PlatformAccounts {
    treasury: Address::repeat_byte(0xa1),
    validation: Address::repeat_byte(0xa2),
    insurance: Address::repeat_byte(0xa3),
};
const NODE: Address = Address::repeat_byte(0xa4);

async fn handles() -> Handles {
    Handles::new(store().await, PLATFORM, NODE)
}

fn entry(name: &str, account: u8) -> Handle {
    Handle { name: name.to_owned(), address: Address::repeat_byte(account) }
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_handle_keeps_its_first_account_and_a_repeat_changes_nothing() {
    let handles = handles().await;
    assert_eq!(handles.register(&[entry("ada", 1), entry("bob", 2)]).await.unwrap(), 2);
    assert_eq!(handles.register(&[entry("ada", 1)]).await.unwrap(), 1);
    assert_eq!(code(handles.register(&[entry("ada", 3)]).await), "handle-taken");
    let accounts = handles.accounts(&names(&["ada", "bob", "nobody"])).await.unwrap();
    let known: Vec<_> = accounts.iter().map(|(name, account)| (name.as_str(), *account)).collect();
    assert_eq!(known, [("ada", Address::repeat_byte(1)), ("bob", Address::repeat_byte(2))]);
}

#[tokio::test]
async fn a_list_with_a_taken_or_malformed_handle_registers_nothing() {
    let handles = handles().await;
    handles.register(&[entry("ada", 1)]).await.unwrap();
    assert_eq!(code(handles.register(&[entry("new", 2), entry("ada", 3)]).await), "handle-taken");
    assert_eq!(code(handles.register(&[entry("new", 2), entry(" ", 3)]).await), "bad-handle");
    assert!(handles.accounts(&names(&["new"])).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_spellings_of_one_name_are_one_handle() {
    let handles = handles().await;
    handles.register(&[entry("Jos\u{e9}", 1)]).await.unwrap();
    assert_eq!(code(handles.register(&[entry("Jose\u{301}", 2)]).await), "handle-taken");
    assert_eq!(handles.register(&[entry("Jose\u{301}", 1)]).await.unwrap(), 1);
    assert_eq!(handles.page(&PageQuery::default()).await.unwrap().items, [entry("Jos\u{e9}", 1)]);
}

#[tokio::test]
async fn handles_come_by_page_in_the_order_of_their_names() {
    let handles = handles().await;
    handles.register(&[entry("cleo", 3), entry("ada", 1), entry("bob", 2)]).await.unwrap();
    let first = handles.page(&PageQuery { limit: Some(2), after: None }).await.unwrap();
    assert_eq!((first.items, first.next.as_deref()), (vec![entry("ada", 1), entry("bob", 2)], Some("bob")));
    let last = handles.page(&PageQuery { limit: Some(2), after: first.next }).await.unwrap();
    assert_eq!((last.items, last.next), (vec![entry("cleo", 3)], None));
}

#[tokio::test]
async fn accounts_have_the_names_of_the_platform_of_the_node_or_their_handle_or_their_first_digits() {
    let handles = handles().await;
    handles.register(&[entry("ada", 1)]).await.unwrap();
    let stranger = Address::repeat_byte(9);
    let names = handles.names([Address::repeat_byte(1), stranger]).await.unwrap();
    let shown = |account: Address| names.display(&account);
    assert_eq!([shown(PLATFORM.treasury), shown(NODE), shown(Address::repeat_byte(1))], ["treasury", "node", "ada"]);
    assert_eq!((names.get(&stranger), shown(stranger).as_str()), (None, "0x09090909…"));
}
