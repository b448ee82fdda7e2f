//! Files that the node writes: whole or not at all, secrets readable by the operator alone.

use std::path::{Path, PathBuf};

use crate::error::{NodeError, Result};

/// Writes a file so that a reader, or a restart, sees the old content or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = path.with_extension("tmp");
    std::fs::write(&staged, bytes).map_err(NodeError::file(&staged))?;
    std::fs::rename(&staged, path).map_err(NodeError::file(path))
}

/// Writes a file that no other account can read at any moment; see [`write_atomically`].
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let staged = path.with_extension("tmp");
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        // A file that a crash left behind keeps the mode it was made with.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&staged, path)
    };
    write().map_err(NodeError::file(path))
}

/// The path from the root of the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(NodeError::file(path))
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(NodeError::file(path))
}
