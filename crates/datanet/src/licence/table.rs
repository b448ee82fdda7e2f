//! The licences that are known: their SPDX names, how people write them, and what each class
//! allows.

use openledger_protocol::{Purpose, Purposes, Rights};

/// A licence as the system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    /// The SPDX expression, or `LicenseRef-…`.
    pub spdx: String,
    /// What it allows; nothing when it is not known.
    pub rights: Rights,
    /// Whether the rights come from the table. If not, the datanet's owner must state them.
    pub known: bool,
}

/// Lower-case ASCII letters and digits with single hyphens between.
pub(super) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// What a licence allows, as far as the system tells licences apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// Everything, without naming anyone.
    Free,
    /// Everything, naming the makers.
    Attribution,
    /// As `Attribution`, and what is made from it carries the same licence.
    ShareAlike,
    /// Everything but for money.
    NonCommercial,
    /// Both of the above.
    NonCommercialShareAlike,
    /// Passing on and showing unchanged.
    NoDerivatives,
    /// That, but not for money.
    NonCommercialNoDerivatives,
}

impl Class {
    fn rights(self, spdx: &str) -> Rights {
        use Class::{NoDerivatives, NonCommercial, NonCommercialNoDerivatives, NonCommercialShareAlike, ShareAlike};
        let mut purposes = Purposes::of(&Purpose::ALL).0;
        if matches!(self, NonCommercial | NonCommercialShareAlike | NonCommercialNoDerivatives) {
            purposes &= !(Purpose::Commercial as u32);
        }
        if matches!(self, NoDerivatives | NonCommercialNoDerivatives) {
            // Training makes something new from the text; showing and measuring with it do not.
            purposes &= !Purposes::of(&[Purpose::Train, Purpose::Finetune, Purpose::Infer, Purpose::Derive]).0;
        }
        Rights {
            license: spdx.to_owned(),
            purposes: Purposes(purposes),
            attribution: self != Self::Free,
            share_alike: matches!(self, ShareAlike | NonCommercialShareAlike),
            min_royalty_bps: 0,
            until: None,
        }
    }
}

/// SPDX name, class, and other spellings as slugs. The slug of the SPDX name itself always counts.
const TABLE: &[(&str, Class, &[&str])] = &[
    ("0BSD", Class::Free, &["bsd-zero-clause-license", "bsd-0-clause"]),
    ("AGPL-3.0-only", Class::ShareAlike, &["agpl-3-0", "agpl-3", "agplv3"]),
    ("AGPL-3.0-or-later", Class::ShareAlike, &[]),
    (
        "Apache-2.0",
        Class::Attribution,
        &["apache-2", "apache2", "apache-license-2-0", "apache-license-version-2-0", "asl-2-0"],
    ),
    ("BSD-2-Clause", Class::Attribution, &["bsd-2", "simplified-bsd-license"]),
    ("BSD-3-Clause", Class::Attribution, &["bsd-3", "new-bsd-license"]),
    ("BSL-1.0", Class::Attribution, &["boost-software-license-1-0"]),
    ("CC-PDDC", Class::Free, &["creative-commons-public-domain-dedication"]),
    (
        "CC-PDM-1.0",
        Class::Free,
        &[
            "public-domain",
            "publicdomain",
            "pd",
            "public-domain-mark",
            "public-domain-mark-1-0",
            "cc-pdm",
            "https-creativecommons-org-publicdomain-mark-1-0",
            "http-creativecommons-org-publicdomain-mark-1-0",
        ],
    ),
    (
        "CC0-1.0",
        Class::Free,
        &[
            "cc0",
            "cc-0",
            "cc-zero",
            "cc-zero-1-0",
            "cc0-1-0-universal",
            "creative-commons-zero",
            "creative-commons-zero-1-0",
            "creative-commons-zero-v1-0-universal",
            "cc-0-1-0",
            "cc0-10",
            "https-creativecommons-org-publicdomain-zero-1-0",
            "http-creativecommons-org-publicdomain-zero-1-0",
        ],
    ),
    ("CDLA-Permissive-1.0", Class::Attribution, &[]),
    ("CDLA-Permissive-2.0", Class::Attribution, &[]),
    ("CDLA-Sharing-1.0", Class::ShareAlike, &[]),
    ("EUPL-1.2", Class::ShareAlike, &[]),
    ("GFDL-1.3-only", Class::ShareAlike, &["gfdl-1-3"]),
    ("GFDL-1.3-or-later", Class::ShareAlike, &[]),
    ("GPL-2.0-only", Class::ShareAlike, &["gpl-2-0", "gpl-2", "gplv2"]),
    ("GPL-2.0-or-later", Class::ShareAlike, &[]),
    ("GPL-3.0-only", Class::ShareAlike, &["gpl-3-0", "gpl-3", "gplv3"]),
    ("GPL-3.0-or-later", Class::ShareAlike, &[]),
    ("ISC", Class::Attribution, &["isc-license"]),
    ("LGPL-2.1-only", Class::ShareAlike, &["lgpl-2-1"]),
    ("LGPL-2.1-or-later", Class::ShareAlike, &[]),
    ("LGPL-3.0-only", Class::ShareAlike, &["lgpl-3-0", "lgpl-3"]),
    ("LGPL-3.0-or-later", Class::ShareAlike, &[]),
    (
        "LicenseRef-OGL-1.0a",
        Class::ShareAlike,
        &["ogl-1-0a", "ogl-10a", "open-game-license-1-0a", "open-game-license-version-1-0a"],
    ),
    ("MIT", Class::Attribution, &["mit-license", "the-mit-license", "expat"]),
    ("MIT-0", Class::Free, &["mit-no-attribution"]),
    ("MPL-2.0", Class::ShareAlike, &["mozilla-public-license-2-0", "mpl-2"]),
    ("ODC-By-1.0", Class::Attribution, &["odc-by", "odc-attribution", "open-data-commons-attribution-license"]),
    ("ODbL-1.0", Class::ShareAlike, &["odbl", "open-database-license"]),
    ("OGL-UK-3.0", Class::Attribution, &["open-government-licence-3-0", "open-government-licence-v3-0"]),
    ("PDDL-1.0", Class::Free, &["pddl", "odc-pddl", "odc-pddl-1-0"]),
    ("Unlicense", Class::Free, &["the-unlicense"]),
    ("WTFPL", Class::Free, &[]),
    ("Zlib", Class::Attribution, &["zlib-license"]),
];

/// Exceptions that may stand after `WITH`; each only widens what its licence allows.
const EXCEPTIONS: &[&str] = &[
    "Autoconf-exception-3.0",
    "Bison-exception-2.2",
    "Classpath-exception-2.0",
    "Font-exception-2.0",
    "GCC-exception-3.1",
    "Linux-syscall-note",
    "LLVM-exception",
];

/// The known licence of this name or spelling.
pub(super) fn lookup(written: &str) -> Option<Licence> {
    let name = slug(without_remark(written));
    let (spdx, class) = TABLE
        .iter()
        .find(|(spdx, _, spellings)| slug(spdx) == name || spellings.contains(&name.as_str()))
        .map(|&(spdx, class, _)| (spdx.to_owned(), class))
        .or_else(|| creative_commons(&name))?;
    let rights = class.rights(&spdx);
    Some(Licence { spdx, rights, known: true })
}

/// The SPDX name of an exception.
pub(super) fn exception(written: &str) -> Option<&'static str> {
    EXCEPTIONS.iter().copied().find(|known| slug(known) == slug(written))
}

/// Drops the remark of `public domain (…)`: why it is free changes nothing about what is allowed.
fn without_remark(written: &str) -> &str {
    match written.split_once('(') {
        Some((name, remark)) if slug(name) == "public-domain" && remark.trim_end().ends_with(')') => name,
        _ => written,
    }
}

/// The six Creative Commons licences in all versions, by the words of their slug in any of the
/// usual orders.
fn creative_commons(name: &str) -> Option<(String, Class)> {
    const LEADS: [&str; 4] =
        ["https-creativecommons-org-licenses-", "http-creativecommons-org-licenses-", "creative-commons-", "cc-"];
    let rest = LEADS.iter().find_map(|lead| name.strip_prefix(lead))?;
    let (mut by, mut nc, mut nd, mut sa) = (false, false, false, false);
    let mut version = String::new();
    let words: Vec<&str> = rest.split('-').collect();
    let mut at = 0;
    while at < words.len() {
        let pair = (words[at], words.get(at + 1).copied().unwrap_or_default());
        match pair {
            ("by" | "attribution", _) => by = true,
            ("nc" | "noncommercial", _) => nc = true,
            ("nd" | "noderivatives" | "noderivs", _) => nd = true,
            ("sa" | "sharealike", _) => sa = true,
            ("non", "commercial") => (nc, at) = (true, at + 1),
            ("no", "derivatives" | "derivs") => (nd, at) = (true, at + 1),
            ("share", "alike") => (sa, at) = (true, at + 1),
            ("license" | "licence" | "international" | "unported" | "generic" | "deed", _) => {}
            ("10" | "20" | "25" | "30" | "40", _) if version.is_empty() => {
                version = format!("{}.{}", &words[at][..1], &words[at][1..]);
            }
            ("1" | "2" | "3" | "4", "0") | ("2", "5") if version.is_empty() => {
                version = format!("{}.{}", pair.0, pair.1);
                at += 1;
            }
            _ => return None,
        }
        at += 1;
    }
    let (class, kind) = match (nc, nd, sa) {
        (false, false, false) => (Class::Attribution, "BY"),
        (false, false, true) => (Class::ShareAlike, "BY-SA"),
        (false, true, false) => (Class::NoDerivatives, "BY-ND"),
        (true, false, false) => (Class::NonCommercial, "BY-NC"),
        (true, false, true) => (Class::NonCommercialShareAlike, "BY-NC-SA"),
        (true, true, false) => (Class::NonCommercialNoDerivatives, "BY-NC-ND"),
        (_, true, true) => return None,
    };
    (by && !version.is_empty()).then(|| (format!("CC-{kind}-{version}"), class))
}
