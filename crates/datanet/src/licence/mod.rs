//! Licences: from how people write them to an SPDX expression and the rights it gives.
//!
//! # Place in the flow
//!
//! Imports call [`normalise`] on each record's `license`. `table` knows names and classes,
//! `expression` reads OR, AND and WITH.
//!
//! # Invariants
//!
//! - **Stable.** Normalising a normal form changes nothing.
//! - **No rights by guess.** What is not in the table becomes `LicenseRef-<slug>` without any
//!   purpose.
//!
//! # Not here
//!
//! Legal advice: the classes below say how this system treats a licence, not what a court would
//! say.

mod expression;
mod table;

use openledger_protocol::{Purposes, Rights, sha256};

pub use table::Licence;
use table::slug;

/// The SPDX form and rights of a licence as people write it, such as `CC BY 4.0`,
/// `MIT or Apache 2.0`, `public domain (own work)`.
///
/// An `OR` gives the wider rights of its sides, an `AND` what both allow. Anything else becomes
/// `LicenseRef-<slug>` without rights.
#[must_use]
pub fn normalise(written: &str) -> Licence {
    let written = written.trim();
    if let Some(licence) = table::lookup(written).or_else(|| expression::read(written)) {
        return licence;
    }
    let spdx =
        if is_reference(written) { written.to_owned() } else { format!("LicenseRef-{}", reference_slug(written)) };
    unknown(spdx)
}

fn unknown(spdx: String) -> Licence {
    let rights = Rights {
        license: spdx.clone(),
        purposes: Purposes::default(),
        attribution: false,
        share_alike: false,
        min_royalty_bps: 0,
        until: None,
    };
    Licence { spdx, rights, known: false }
}

/// Whether a text is already a `LicenseRef-` name as SPDX allows it.
fn is_reference(text: &str) -> bool {
    text.strip_prefix("LicenseRef-")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)))
}

/// A slug that keeps texts apart whose letters ASCII does not have: then eight digits of their hash
/// follow.
fn reference_slug(text: &str) -> String {
    let plain = slug(text);
    if !plain.is_empty() && text.chars().all(|c| c.is_ascii() || !c.is_alphanumeric()) {
        return plain;
    }
    let hash = sha256(text.as_bytes()).to_string();
    let name = if plain.is_empty() { "unnamed" } else { &plain };
    format!("{name}-{}", &hash[2..10])
}

#[cfg(test)]
mod tests {
    use openledger_protocol::Purpose;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(written: &str, spdx: &str) {
        assert_eq!(normalise(written).spdx, spdx, "{written}");
    }

    #[test]
    fn spellings_map_to_spdx() {
        check("CC BY 4.0", "CC-BY-4.0");
        check("cc-by-40", "CC-BY-4.0");
        check("cc-by-4.0", "CC-BY-4.0");
        check("Creative Commons Attribution 4.0", "CC-BY-4.0");
        check("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0");
        check("https://creativecommons.org/licenses/by-nc-nd/3.0/", "CC-BY-NC-ND-3.0");
        check("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0");
        check("CC0 1.0", "CC0-1.0");
        check("CC0", "CC0-1.0");
        check("public domain", "CC-PDM-1.0");
        check("public domain (US Government work, Board of Governors)", "CC-PDM-1.0");
        check("Apache 2.0", "Apache-2.0");
        check("Apache License, Version 2.0", "Apache-2.0");
        check("ODC-BY", "ODC-By-1.0");
        check("ogl-10a", "LicenseRef-OGL-1.0a");
        check("The MIT License", "MIT");
    }

    #[test]
    fn expressions_keep_their_meaning() {
        check("MIT OR Apache 2.0", "MIT OR Apache-2.0");
        check("mit/apache-2.0", "MIT OR Apache-2.0");
        check("(MIT or BSD-3-Clause) and CC0", "(MIT OR BSD-3-Clause) AND CC0-1.0");
        check("GPL-2.0-only with Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0");
    }

    #[test]
    fn what_is_not_known_has_no_rights() {
        for name in [
            "ask me first",
            "CC BY",
            "MIT OR ask me",
            "public domain in parts",
            "MIT AND",
            "(MIT OR ISC",
            "GPL WITH luck",
        ] {
            let licence = normalise(name);
            assert!(licence.spdx.starts_with("LicenseRef-"), "{name}: {}", licence.spdx);
            assert!(!licence.known && licence.rights.purposes.0 == 0, "{name}");
        }
        check("ask me first", "LicenseRef-ask-me-first");
        assert_ne!(normalise("许可").spdx, normalise("许可证").spdx);
    }

    #[test]
    fn non_commercial_and_no_derivatives_lack_what_they_forbid() {
        let allows = |name, purpose| normalise(name).rights.purposes.allow(Purposes::of(&[purpose]));
        assert!(!allows("CC BY-NC 4.0", Purpose::Commercial) && allows("CC BY-NC 4.0", Purpose::Finetune));
        assert!(!allows("CC BY-ND 4.0", Purpose::Derive) && !allows("CC BY-ND 4.0", Purpose::Finetune));
        assert!(allows("CC BY-ND 4.0", Purpose::Commercial));
        assert!(normalise("CC BY-SA 4.0").rights.share_alike);
    }

    #[test]
    fn or_takes_the_wider_rights_and_and_the_meet() {
        let commercial = Purposes::of(&[Purpose::Commercial]);
        let either = normalise("CC-BY-NC-4.0 OR MIT").rights;
        assert!(either.purposes.allow(commercial) && either.attribution);
        assert!(!normalise("CC-BY-NC-4.0 AND MIT").rights.purposes.allow(commercial));
        assert!(!normalise("GPL-3.0-only OR MIT").rights.share_alike);
        assert!(normalise("GPL-3.0-only AND MIT").rights.share_alike);
        assert!(!normalise("CC0-1.0 OR MIT").rights.attribution);
    }

    proptest! {
        #[test]
        fn normal_forms_are_stable(words in proptest::collection::vec(
            prop_oneof![Just("MIT"), Just("CC BY-SA 4.0"), Just("or"), Just("AND"), Just("("), Just(")"), Just("/"),
                Just("GPL-3.0"), Just("with"), Just("public domain"), Just("é"), Just("LicenseRef-x")], 0..8)) {
            let once = normalise(&words.join(" "));
            prop_assert_eq!(&normalise(&once.spdx), &once);
            prop_assert_eq!(&once.rights.license, &once.spdx);
        }

        #[test]
        fn any_text_has_a_stable_normal_form(text in ".{0,60}") {
            let once = normalise(&text);
            prop_assert_eq!(&normalise(&once.spdx), &once);
        }
    }
}
