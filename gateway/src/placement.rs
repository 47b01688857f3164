//! `[placement]` of the configuration: where packs may be placed.
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cess::AccountId;
use serde::Deserialize;

/// `[placement]`. What is left out rules nothing out; a denial beats an allowance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSettings {
    /// Only these miners (SS58).
    pub allow_accounts: Vec<String>,
    /// None of these miners (SS58).
    pub deny_accounts: Vec<String>,
    /// Only miners all of whose addresses lie in one of these networks (`192.0.2.0/24`).
    pub allow_networks: Vec<String>,
    /// No miner with an address in one of these networks.
    pub deny_networks: Vec<String>,
    /// Only miners all of whose addresses are in one of these countries (`DE`).
    pub allow_countries: Vec<String>,
    /// No miner with an address in one of these countries.
    pub deny_countries: Vec<String>,
    /// A file in MaxMind DB format that knows the country of an address; read at the start. Rules
    /// for countries need it.
    pub geoip: Option<PathBuf>,
}

impl PlacementSettings {
    /// As the store takes it. An error names the key.
    pub fn placement(&self) -> Result<store::Placement> {
        if self.geoip.is_none() && !(self.allow_countries.is_empty() && self.deny_countries.is_empty()) {
            bail!("placement.allow_countries and placement.deny_countries need placement.geoip");
        }
        Ok(store::Placement {
            allow_accounts: accounts("allow_accounts", &self.allow_accounts)?,
            deny_accounts: accounts("deny_accounts", &self.deny_accounts)?,
            allow_networks: parsed("allow_networks", &self.allow_networks)?,
            deny_networks: parsed("deny_networks", &self.deny_networks)?,
            allow_countries: parsed("allow_countries", &self.allow_countries)?,
            deny_countries: parsed("deny_countries", &self.deny_countries)?,
            geoip: self.geoip.clone(),
        })
    }
}

fn accounts(key: &str, texts: &[String]) -> Result<Vec<AccountId>> {
    texts
        .iter()
        .map(|text| {
            AccountId::from_ss58(text)
                .map(|(account, _)| account)
                .with_context(|| format!("placement.{key}: {text}"))
        })
        .collect()
}

fn parsed<T>(key: &str, texts: &[String]) -> Result<Vec<T>>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    texts
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|error: T::Err| anyhow::anyhow!("placement.{key}: {text}: {error}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(text: &str) -> Result<store::Placement> {
        toml::from_str::<PlacementSettings>(text)?.placement()
    }

    #[test]
    fn rules_are_read_and_mistakes_named() {
        assert_eq!(placement("").unwrap(), store::Placement::default());
        let rules = placement(
            "deny_accounts = ['cXjmuHdBk4J3Zyt2oGodwGegNFaTFPcfC48PZ9NMmcUFzF6cc']\n\
             allow_networks = ['192.0.2.0/24', '2001:db8::/32']\n\
             deny_countries = ['fr']\ngeoip = '/x'",
        )
        .unwrap();
        assert_eq!(rules.deny_accounts.len(), 1);
        assert_eq!(rules.allow_networks.len(), 2);
        assert_eq!(rules.deny_countries[0].to_string(), "FR");
        for (text, named) in [
            ("allow_accounts = ['nobody']", "placement.allow_accounts: nobody"),
            (
                "deny_networks = ['10.0.0.0/33']",
                "placement.deny_networks: 10.0.0.0/33",
            ),
            (
                "allow_countries = ['Germany']\ngeoip = '/x'",
                "placement.allow_countries: Germany",
            ),
            ("deny_countries = ['DE']", "need placement.geoip"),
            ("alow_accounts = []", "alow_accounts"),
        ] {
            let error = format!("{:#}", placement(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
