//! An outbox in a file, for senders that are killed: each call is one appended line, written before
//! it returns.
//!
//! A killed process loses nothing that was written; the last line may be cut, and is then as good
//! as not written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use alloy_primitives::Address;
use openledger_chain::sender::{MemoryOutbox, Outbox, OutboxEntry, OutboxFuture, SignedTransaction};

pub(crate) struct FileOutbox {
    file: Mutex<File>,
    memory: MemoryOutbox,
}

impl FileOutbox {
    pub(crate) async fn open(path: &Path) -> Self {
        let memory = MemoryOutbox::default();
        for (signed, mined) in Self::read(path).into_values() {
            let key = signed.key.clone();
            assert!(memory.put_signed(signed).await.unwrap(), "{key} is in the file twice");
            if let Some(block) = mined {
                memory.mark_mined(&key, block, 0, true).await.unwrap();
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self { file: Mutex::new(file), memory }
    }

    /// What was signed, by key, and in which block it was seen.
    pub(crate) fn read(path: &Path) -> BTreeMap<String, (SignedTransaction, Option<u64>)> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut found = BTreeMap::new();
        // A line without its end was being written when the process was killed.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["signed", key, sender, nonce, raw, hash] => {
                    let signed = SignedTransaction {
                        key: (*key).to_owned(),
                        sender: sender.parse().unwrap(),
                        nonce: nonce.parse().unwrap(),
                        raw: raw.parse().unwrap(),
                        hash: hash.parse().unwrap(),
                    };
                    found.insert((*key).to_owned(), (signed, None));
                }
                ["mined", key, block] => {
                    let entry: &mut (_, Option<u64>) = found.get_mut(*key).unwrap();
                    entry.1 = Some(block.parse().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        found
    }

    fn append(&self, line: String) {
        self.file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Outbox for FileOutbox {
    fn get<'a>(&'a self, key: &'a str) -> OutboxFuture<'a, Option<OutboxEntry>> {
        self.memory.get(key)
    }

    fn next_nonce(&self, sender: Address) -> OutboxFuture<'_, u64> {
        self.memory.next_nonce(sender)
    }

    fn put_signed(&self, signed: SignedTransaction) -> OutboxFuture<'_, bool> {
        Box::pin(async move {
            let SignedTransaction { key, sender, nonce, raw, hash } = &signed;
            self.append(format!("signed {key} {sender} {nonce} {raw} {hash}\n"));
            self.memory.put_signed(signed).await
        })
    }

    fn mark_mined<'a>(&'a self, key: &'a str, block: u64, gas: u64, succeeded: bool) -> OutboxFuture<'a, ()> {
        Box::pin(async move {
            self.append(format!("mined {key} {block}\n"));
            self.memory.mark_mined(key, block, gas, succeeded).await
        })
    }

    fn unmined(&self, sender: Address) -> OutboxFuture<'_, Vec<SignedTransaction>> {
        self.memory.unmined(sender)
    }
}
