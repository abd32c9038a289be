//! The platform of a manifest: operating system, processor, and its variant.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// A platform, written `linux/arm64/v8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[non_exhaustive]
pub struct Platform {
    /// Such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Such as `v8`; empty if there is none.
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// Whether a request for `self` selects `other`: without a variant it selects all of them.
    #[must_use]
    pub fn means(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_empty() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: &str| if part.is_empty() { "unknown".to_owned() } else { part.escape_debug().to_string() };
        write!(f, "{}/{}", known(&self.os), known(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant.escape_debug())?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// Reads `OS/ARCH` or `OS/ARCH/VARIANT`.
    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let wrong = || ParsePlatformError { got: text.to_owned() };
        let mut parts = text.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (os, architecture) = (next().ok_or_else(wrong)?, next().ok_or_else(wrong)?);
        let variant = next();
        if parts.next().is_some() || (variant.is_none() && text.ends_with('/')) {
            return Err(wrong());
        }
        Ok(Self { os, architecture, variant: variant.unwrap_or_default() })
    }
}

/// A text that names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a platform such as linux/amd64 or linux/arm/v7, got `{got}`")]
#[expect(missing_docs, reason = "the message names the field")]
#[non_exhaustive]
pub struct ParsePlatformError {
    pub got: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_they_are_written() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux//v7", "linux/arm/", "linux/arm/v7/x", "linux/arm/v7/"] {
            let wanted = format!("expected a platform such as linux/amd64 or linux/arm/v7, got `{text}`");
            assert_eq!(text.parse::<Platform>().unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn a_platform_without_a_variant_means_all_variants() {
        let [arm, v7, amd]: [Platform; 3] =
            ["linux/arm", "linux/arm/v7", "linux/amd64"].map(|text| text.parse().unwrap());
        assert!(arm.means(&arm) && arm.means(&v7) && v7.means(&v7));
        assert!(!v7.means(&arm) && !amd.means(&arm));
    }
}
