//! Terms: what may be done with records taken together.
//!
//! **Invariant:** taking in one more input never widens what is allowed. **Not here:** what a
//! licence says ([`crate::licence`]).

use openledger_protocol::{Purpose, Purposes, Rights};

/// What the licence of every record in a datanet must allow, so that a model can be trained on it,
/// measured and asked.
pub const REQUIRED_PURPOSES: [Purpose; 3] = [Purpose::Finetune, Purpose::Evaluate, Purpose::Infer];

/// The rights do not reach as far as they must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{license}` does not allow {missing:?}")]
pub struct RightsError {
    /// The licence.
    pub license: String,
    /// What it does not allow.
    pub missing: Purposes,
}

/// Whether `rights` allow all that a datanet requires.
///
/// # Errors
/// [`RightsError`] naming the purposes that are missing.
pub fn datanet_allows(required: Purposes, rights: &Rights) -> Result<(), RightsError> {
    let missing = Purposes(required.0 & !rights.purposes.0);
    if missing.0 == 0 { Ok(()) } else { Err(RightsError { license: rights.license.clone(), missing }) }
}

/// What several inputs allow together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meet {
    /// What all of them allow, with everything that any of them asks for; the licences joined by
    /// `AND`, sorted.
    pub rights: Rights,
    /// Share-alike licences that cannot all be kept at once: two or more, else empty.
    pub share_alike_conflict: Vec<String>,
}

/// The meet of `inputs`: purposes that all allow, obligations of any, the highest royalty, the
/// earliest end. `None` for no inputs.
pub fn meet<'r>(inputs: impl IntoIterator<Item = &'r Rights>) -> Option<Meet> {
    let mut inputs = inputs.into_iter();
    let first = inputs.next()?;
    let mut rights = first.clone();
    let mut licences = vec![first.license.clone()];
    let mut share_alike: Vec<String> = first.share_alike.then(|| first.license.clone()).into_iter().collect();
    for next in inputs {
        rights.purposes = rights.purposes.meet(next.purposes);
        rights.attribution |= next.attribution;
        rights.share_alike |= next.share_alike;
        rights.min_royalty_bps = rights.min_royalty_bps.max(next.min_royalty_bps);
        rights.until = [rights.until, next.until].into_iter().flatten().min();
        if !licences.contains(&next.license) {
            licences.push(next.license.clone());
        }
        if next.share_alike && !share_alike.contains(&next.license) {
            share_alike.push(next.license.clone());
        }
    }
    licences.sort();
    share_alike.sort();
    if licences.len() > 1 {
        let wrap = |name: &String| if name.contains(" OR ") { format!("({name})") } else { name.clone() };
        rights.license = licences.iter().map(wrap).collect::<Vec<_>>().join(" AND ");
    }
    let share_alike_conflict = if share_alike.len() > 1 { share_alike } else { Vec::new() };
    Some(Meet { rights, share_alike_conflict })
}

/// An input that stands in the way of a purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking<K> {
    /// Which input, as the caller names it.
    pub input: K,
    /// Its licence.
    pub license: String,
    /// It allows the purpose, but its permission ended at this time (Unix seconds).
    pub ended: Option<u64>,
}

/// The inputs that do not allow `purpose` at `now` (Unix seconds), in the order given.
pub fn blocking<'r, K>(
    inputs: impl IntoIterator<Item = (K, &'r Rights)>,
    purpose: Purpose,
    now: u64,
) -> Vec<Blocking<K>> {
    let needed = Purposes::of(&[purpose]);
    let mut found = Vec::new();
    for (input, rights) in inputs {
        let ended = rights.until.filter(|&until| until <= now);
        let allowed = rights.purposes.allow(needed);
        if !allowed || ended.is_some() {
            found.push(Blocking { input, license: rights.license.clone(), ended: ended.filter(|_| allowed) });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licence::normalise;

    #[test]
    fn the_meet_keeps_what_all_allow_and_what_any_asks() {
        let inputs = ["CC-BY-4.0", "CC0-1.0", "CC-BY-NC-4.0"].map(|name| normalise(name).rights);
        let met = meet(&inputs).unwrap();
        assert_eq!(met.rights.license, "CC-BY-4.0 AND CC-BY-NC-4.0 AND CC0-1.0");
        assert!(!met.rights.purposes.allow(Purposes::of(&[Purpose::Commercial])));
        assert!(met.rights.purposes.allow(Purposes::of(&[Purpose::Finetune, Purpose::Infer])));
        assert!(met.rights.attribution && met.share_alike_conflict.is_empty());
        assert_eq!(meet([]), None);
    }

    #[test]
    fn the_meet_takes_the_earliest_end_and_the_highest_royalty() {
        let base = normalise("CC0-1.0").rights;
        let one = Rights { until: Some(9), min_royalty_bps: 100, ..base.clone() };
        let other = Rights { until: Some(7), min_royalty_bps: 50, ..base.clone() };
        let met = meet([&base, &one, &other]).unwrap().rights;
        assert_eq!((met.until, met.min_royalty_bps), (Some(7), 100));
    }

    #[test]
    fn two_share_alike_licences_conflict() {
        let inputs = ["GPL-3.0-only", "CC-BY-SA-4.0", "MIT"].map(|name| normalise(name).rights);
        assert_eq!(meet(&inputs).unwrap().share_alike_conflict, ["CC-BY-SA-4.0", "GPL-3.0-only"]);
    }

    #[test]
    fn blocking_inputs_are_named() {
        let free = normalise("CC0-1.0").rights;
        let ended = Rights { until: Some(10), ..free.clone() };
        let narrow = normalise("CC-BY-NC-4.0").rights;
        let found = blocking([("a", &free), ("b", &ended), ("c", &narrow)], Purpose::Commercial, 10);
        assert_eq!(found.iter().map(|b| (b.input, b.ended)).collect::<Vec<_>>(), [("b", Some(10)), ("c", None)]);
    }
}
