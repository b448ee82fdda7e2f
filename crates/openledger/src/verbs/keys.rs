//! Key files: a signer's, and the one that a node makes for itself.

use std::path::Path;

use openledger_protocol::Key;

use crate::error::{CliError, Exit, Result};

/// The key in `file`.
pub(crate) fn read_key(file: &Path) -> Result<Key> {
    let refused = |exit, reason: &dyn std::fmt::Display| {
        let message = format!("key file {}: {reason}; name a file with a key of 64 hexadecimal digits", file.display());
        CliError::refused(exit, message)
    };
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refused(Exit::Missing, &error),
        _ => refused(Exit::Config, &error),
    })?;
    let mut secret = [0u8; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut secret)
        .map_err(|_| refused(Exit::Config, &"it holds something else than a key"))?;
    Key::from_bytes(&secret).map_err(|_| refused(Exit::Config, &"its number is no key of secp256k1"))
}

/// The key in `file`, or a new one from the system's randomness, readable by its owner alone.
pub(crate) fn own_key(file: &Path) -> Result<Key> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    if file.exists() {
        return read_key(file);
    }
    let source = Path::new("/dev/urandom");
    let mut random = std::fs::File::open(source).map_err(CliError::file(source))?;
    loop {
        let mut secret = [0u8; 32];
        random.read_exact(&mut secret).map_err(CliError::file(source))?;
        // One draw in 2^128 is no key.
        let Ok(key) = Key::from_bytes(&secret) else { continue };
        let mut created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let written = created.as_mut().map_err(|error| std::io::Error::new(error.kind(), error.to_string()));
        written.and_then(|f| f.write_all(hex::encode(secret).as_bytes())).map_err(CliError::file(file))?;
        return Ok(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.key");
        let made = own_key(&file).unwrap();
        assert_eq!(own_key(&file).unwrap().address(), made.address());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "not a key").unwrap();
        assert_eq!(own_key(&file).unwrap_err().exit(), Exit::Config);
    }

    #[test]
    fn a_key_file_that_cannot_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.key");
        let wrong = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        for (file, exit, reason) in [
            (absent, Exit::Missing, "No such file"),
            (folder.path().to_owned(), Exit::Config, "directory"),
            (wrong("channel.json", "{\"api_key\": \"olk_a\"}"), Exit::Config, "something else than a key"),
            (wrong("zero.key", &"0".repeat(64)), Exit::Config, "no key of secp256k1"),
        ] {
            let refused = read_key(&file).err().unwrap();
            assert_eq!(refused.exit(), exit, "{refused}");
            let told = refused.to_string();
            assert!(told.contains(&file.display().to_string()) && told.contains(reason), "{told}");
        }
    }
}
