//! Which names an adapter may have, so that no name means two models.

use crate::error::ServeError;

/// Refuses a name for an adapter that means something else in a request: the base's own, or a form
/// of a hash.
///
/// # Errors
/// [`ServeError::BadRequest`] about `alias`.
pub fn check_adapter_name(name: &str, base: &str) -> Result<(), ServeError> {
    let bad = |reason: String| Err(ServeError::BadRequest { param: "alias", reason });
    if name.is_empty() || name.contains(':') || name.starts_with("0x") {
        return bad("must not be empty, hold `:` or start with `0x`".to_owned());
    }
    if name == base {
        return bad(format!("is `{name}`, the base's own name; give the adapter another"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_something_else_is_refused() {
        for bad in ["", "a:b", "0xowl", "base"] {
            assert!(check_adapter_name(bad, "base").is_err(), "{bad}");
        }
        assert!(check_adapter_name("owls", "base").is_ok());
    }
}
