//! The methods: which linear map of the records' gradients a query is multiplied with.
//!
//! Place in the flow: a cache is built with one, and named by it. Every method here is a matrix `M`
//! over the records, so that `scores = query · (M G)ᵀ`, and the cache stores `M G`. Not here: the
//! arithmetic (`solver`).

use std::fmt;
use std::str::FromStr;

/// The default damping, as a share of the mean eigenvalue of a module's Fisher matrix; quality is
/// flat from 0.1 to 0.3.
pub const DAMPING: f64 = 0.1;

/// An influence method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Exact empirical Fisher per module: `q · (GᵀG/n + d I)⁻¹ g`, with `d` = damping × mean
    /// non-zero eigenvalue.
    #[default]
    Fisher,
    /// The plain product of gradients `q · g`; a baseline.
    GradDot,
    /// The cosine of gradients; a baseline.
    GradCos,
    /// DataInf's swap of inverse and mean, per module; a baseline.
    DataInf,
}

impl Method {
    /// Every method, the default first.
    pub const ALL: [Self; 4] = [Self::Fisher, Self::GradDot, Self::GradCos, Self::DataInf];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fisher => "fisher",
            Self::GradDot => "grad-dot",
            Self::GradCos => "grad-cos",
            Self::DataInf => "datainf",
        }
    }

    /// Its version, as credits and manifests name it; a change of any rounding gives it a new one.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Fisher => "influence-fisher/1",
            Self::GradDot => "influence-grad-dot/1",
            Self::GradCos => "influence-grad-cos/1",
            Self::DataInf => "influence-datainf/1",
        }
    }

    /// The method of that version.
    #[must_use]
    pub fn from_version(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.version() == version)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no influence method of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no influence method is called `{0}`: use fisher, grad-dot, grad-cos or datainf")]
pub struct UnknownMethod(String);

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_lead_back_to_the_method() {
        for method in Method::ALL {
            assert_eq!(method.name().parse(), Ok(method));
            assert_eq!(Method::from_version(method.version()), Some(method));
        }
        assert!("ek-fac".parse::<Method>().is_err());
    }
}
