//! Where packs may be placed: accounts, networks and countries, allowed or denied.
//!
//! The chain knows no locations. A miner's network is that of the addresses its endpoint resolves
//! to, its country what the operator's GeoIP file says of them: both are claims that a proxy can
//! make false, and are worth as much as a miner's word. What can be held is held: no pack is
//! ordered while fewer than twelve miners satisfy the rules, nothing is pushed to one that does
//! not, and when the chain says who holds what, that is checked again, since anybody can fetch a
//! fragment and report it.
//!
//! Rules belong to a pack: whoever places one asks [`Shared::rules`] for those of its chunks.
mod address;
mod country;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cess::AccountId;
use cess::account::SS58_PREFIX;
use cess::chain::Miner;
use cess::codec::FRAGMENTS;
use ipnetwork::IpNetwork;

pub(crate) use self::address::Addresses;
use self::country::Countries;
pub use self::country::Country;
use crate::pack::record::{self, Names, Record};
use crate::place::drive::Step;
use crate::place::{Shared, StepError, verify};
use crate::{Error, Result};

/// Where packs may be placed. What is empty rules nothing out; a denial beats an allowance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Only these miners.
    pub allow_accounts: Vec<AccountId>,
    /// None of these miners.
    pub deny_accounts: Vec<AccountId>,
    /// Only miners all of whose addresses lie in one of these networks.
    pub allow_networks: Vec<IpNetwork>,
    /// No miner with an address in one of these networks.
    pub deny_networks: Vec<IpNetwork>,
    /// Only miners all of whose addresses are in one of these countries.
    pub allow_countries: Vec<Country>,
    /// No miner with an address in one of these countries.
    pub deny_countries: Vec<Country>,
    /// A file in MaxMind DB format with `country.iso_code` by address (GeoLite2 Country or City).
    /// Read once, when the store opens; needed for the countries.
    pub geoip: Option<PathBuf>,
}

/// The rule that a miner does not satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Excluded {
    DenyAccounts,
    AllowAccounts,
    NoAddress,
    DenyNetworks,
    AllowNetworks,
    DenyCountries,
    AllowCountries,
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DenyAccounts => "placement.deny_accounts",
            Self::AllowAccounts => "placement.allow_accounts",
            Self::NoAddress => "the placement rules for networks or countries: its endpoint has no address",
            Self::DenyNetworks => "placement.deny_networks",
            Self::AllowNetworks => "placement.allow_networks",
            Self::DenyCountries => "placement.deny_countries",
            Self::AllowCountries => "placement.allow_countries",
        })
    }
}

/// Rules, ready to judge.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    placement: Placement,
    countries: Option<Countries>,
}

impl Rules {
    /// Reads the GeoIP file, if the rules name countries.
    pub(crate) fn open(placement: Placement) -> Result<Self> {
        let named = !placement.allow_countries.is_empty() || !placement.deny_countries.is_empty();
        let countries = match (&placement.geoip, named) {
            (_, false) => None,
            (Some(path), true) => Some(Countries::open(path)?),
            (None, true) => {
                let text = "placement rules name countries, and no GeoIP file is given";
                return Err(Error::Disk(text.into()));
            }
        };
        Ok(Self { placement, countries })
    }

    /// Whether nothing is ruled out.
    pub(crate) fn are_none(&self) -> bool {
        let Placement {
            allow_accounts,
            deny_accounts,
            ..
        } = &self.placement;
        allow_accounts.is_empty() && deny_accounts.is_empty() && !self.need_addresses()
    }

    /// Whether judging takes the miner's addresses.
    pub(crate) fn need_addresses(&self) -> bool {
        self.countries.is_some()
            || !self.placement.allow_networks.is_empty()
            || !self.placement.deny_networks.is_empty()
    }

    /// The first rule that a miner at `addresses` does not satisfy.
    pub(crate) fn judge(&self, account: AccountId, addresses: &[IpAddr]) -> Option<Excluded> {
        let rules = &self.placement;
        if rules.deny_accounts.contains(&account) {
            return Some(Excluded::DenyAccounts);
        }
        if !rules.allow_accounts.is_empty() && !rules.allow_accounts.contains(&account) {
            return Some(Excluded::AllowAccounts);
        }
        if !self.need_addresses() {
            return None;
        }
        if addresses.is_empty() {
            return Some(Excluded::NoAddress);
        }
        let addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        let lies_in = |networks: &[IpNetwork], address: IpAddr| {
            networks.iter().any(|network| network.contains(address))
        };
        if addresses
            .iter()
            .any(|address| lies_in(&rules.deny_networks, *address))
        {
            return Some(Excluded::DenyNetworks);
        }
        if !rules.allow_networks.is_empty()
            && !addresses
                .iter()
                .all(|address| lies_in(&rules.allow_networks, *address))
        {
            return Some(Excluded::AllowNetworks);
        }
        let countries = self.countries.as_ref()?;
        let found: Vec<Option<Country>> = addresses.iter().map(|address| countries.of(*address)).collect();
        if found
            .iter()
            .flatten()
            .any(|country| rules.deny_countries.contains(country))
        {
            return Some(Excluded::DenyCountries);
        }
        let allowed = |country: &Option<Country>| {
            country.is_some_and(|country| rules.allow_countries.contains(&country))
        };
        if !rules.allow_countries.is_empty() && !found.iter().all(allowed) {
            return Some(Excluded::AllowCountries);
        }
        None
    }
}

impl Shared {
    /// The rules for a pack.
    pub(crate) fn rules(&self, _record: &Record) -> &Rules {
        &self.settings.rules
    }

    /// Whether rules exclude a miner; `endpoint` is where it answers.
    async fn excluded(&self, rules: &Rules, account: AccountId, endpoint: Option<&str>) -> Option<Excluded> {
        let addresses = match endpoint {
            Some(endpoint) if rules.need_addresses() => self.addresses.of(endpoint).await,
            _ => Arc::default(),
        };
        rules.judge(account, &addresses)
    }

    /// The miners that can take a group of a pack and satisfy its rules, in the order in which to
    /// ask them; and how many more could take it but for which rule.
    pub(crate) async fn usable(
        &self,
        record: &Record,
    ) -> Result<(Vec<Miner>, Vec<(Excluded, usize)>), StepError> {
        let able = self.miners.usable(Self::group_space(record.segments)).await?;
        let rules = self.rules(record);
        if rules.are_none() {
            return Ok((able, Vec::new()));
        }
        let judged = able.into_iter().map(|miner| async move {
            let excluded = self
                .excluded(rules, miner.account, miner.endpoint.as_deref())
                .await;
            (miner, excluded)
        });
        let mut usable = Vec::new();
        let mut without: std::collections::BTreeMap<Excluded, usize> = std::collections::BTreeMap::new();
        for (miner, excluded) in futures::future::join_all(judged).await {
            match excluded {
                None => usable.push(miner),
                Some(rule) => *without.entry(rule).or_default() += 1,
            }
        }
        Ok((usable, without.into_iter().collect()))
    }
}

/// Refuses when a pack could not be placed anywhere, before anything is ordered.
pub(crate) async fn enough_miners(shared: &Shared, record: &Record) -> Result<(), StepError> {
    let (usable, excluded) = shared.usable(record).await?;
    if usable.len() >= FRAGMENTS {
        return Ok(());
    }
    let mut text = format!(
        "{} can take {} fragments of 8 MiB, {FRAGMENTS} are needed",
        usable.len(),
        record.segments
    );
    if !excluded.is_empty() {
        let counts: Vec<String> = excluded
            .iter()
            .map(|(rule, count)| format!("{count} by {rule}"))
            .collect();
        text = format!("{text}; excluded: {}", counts.join(", "));
    }
    Err(StepError::Miners(text))
}

/// A pack is placed: do those who hold it satisfy its rules? One that does not gives the pack's
/// chunks to new packs, as soon as those could be placed. `None`: all is well.
pub(crate) async fn check_holders(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
) -> Result<Option<Step>, StepError> {
    let rules = shared.rules(record);
    if rules.are_none() {
        return Ok(None);
    }
    let names: Names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    let mut violations = Vec::new();
    for holder in &names.holders {
        let account = AccountId(holder.account);
        let endpoint = shared
            .miners
            .endpoint(account)
            .or_else(|| holder.endpoint.clone());
        let excluded = shared.excluded(rules, account, endpoint.as_deref()).await;
        if excluded == Some(Excluded::NoAddress) {
            // A name server that does not answer is no reason to store a pack again.
            return Err(StepError::Miners(format!(
                "the address of {} cannot be found; whether the placement rules allow it is not known",
                account.to_ss58(SS58_PREFIX)
            )));
        }
        if let Some(rule) = excluded {
            violations.push(format!("{} by {rule}", account.to_ss58(SS58_PREFIX)));
        }
    }
    if violations.is_empty() {
        return Ok(None);
    }
    let text = format!("held by miners that are excluded: {}", violations.join(", "));
    let others = shared.usable(record).await?.0.len();
    if others < FRAGMENTS {
        return Err(StepError::Miners(format!(
            "{text}; {others} others are usable, {FRAGMENTS} would be needed to store it again"
        )));
    }
    tracing::warn!(pack, reason = %text, "pack is stored again");
    shared
        .workers
        .verifier
        .failed(&format_args!("pack {pack} is {text}; stored again"));
    shared
        .workers
        .verifier
        .count("packs stored again for placement rules", 1);
    verify::retire(shared, pack, true, text).await?;
    Ok(Some(Step::Done))
}

#[cfg(test)]
pub(crate) use self::country::tests::write as test_database;

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([7; 32]);

    fn judge(placement: Placement, addresses: &[&str]) -> Option<Excluded> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Rules::open(placement).unwrap().judge(ACCOUNT, &addresses)
    }

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn accounts_are_allowed_and_denied() {
        assert!(Rules::default().are_none());
        assert_eq!(judge(Placement::default(), &[]), None);
        let others = vec![AccountId([1; 32])];
        let allow = |accounts: Vec<AccountId>| Placement {
            allow_accounts: accounts,
            ..Placement::default()
        };
        assert_eq!(judge(allow(others.clone()), &[]), Some(Excluded::AllowAccounts));
        assert_eq!(judge(allow(vec![ACCOUNT]), &[]), None);
        let both = Placement {
            deny_accounts: vec![ACCOUNT],
            ..allow(vec![ACCOUNT])
        };
        assert_eq!(judge(both, &[]), Some(Excluded::DenyAccounts));
    }

    #[test]
    fn networks_are_allowed_and_denied_by_every_address() {
        let allow = || Placement {
            allow_networks: networks(&["10.0.0.0/8", "2001:db8::/32"]),
            ..Placement::default()
        };
        assert_eq!(judge(allow(), &["10.1.2.3"]), None);
        assert_eq!(judge(allow(), &["10.1.2.3", "2001:db8::1"]), None);
        assert_eq!(judge(allow(), &["::ffff:10.1.2.3"]), None);
        assert_eq!(
            judge(allow(), &["10.1.2.3", "11.1.2.3"]),
            Some(Excluded::AllowNetworks)
        );
        assert_eq!(judge(allow(), &[]), Some(Excluded::NoAddress));
        let deny = || Placement {
            deny_networks: networks(&["10.7.0.0/16"]),
            ..allow()
        };
        assert_eq!(judge(deny(), &["10.1.2.3"]), None);
        assert_eq!(
            judge(deny(), &["10.1.2.3", "10.7.0.1"]),
            Some(Excluded::DenyNetworks)
        );
    }

    #[test]
    fn countries_come_from_the_operators_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("countries.mmdb");
        country::tests::write(&path, &[("10.1.0.0/16", "DE"), ("10.2.0.0/16", "FR")]);
        let rules = |allow: &[&str], deny: &[&str]| Placement {
            allow_countries: allow.iter().map(|text| text.parse().unwrap()).collect(),
            deny_countries: deny.iter().map(|text| text.parse().unwrap()).collect(),
            geoip: Some(path.clone()),
            ..Placement::default()
        };
        assert_eq!(judge(rules(&["DE"], &[]), &["10.1.2.3"]), None);
        assert_eq!(
            judge(rules(&["DE"], &[]), &["10.2.2.3"]),
            Some(Excluded::AllowCountries)
        );
        // An address that the file does not know may be anywhere.
        assert_eq!(
            judge(rules(&["DE"], &[]), &["10.1.2.3", "10.3.2.3"]),
            Some(Excluded::AllowCountries)
        );
        assert_eq!(judge(rules(&[], &["DE"]), &["10.3.2.3"]), None);
        assert_eq!(
            judge(rules(&[], &["DE"]), &["10.2.0.1", "10.1.0.1"]),
            Some(Excluded::DenyCountries)
        );
        let without = Placement {
            geoip: None,
            ..rules(&["DE"], &[])
        };
        let refused = Rules::open(without).unwrap_err().to_string();
        assert!(refused.contains("no GeoIP file is given"), "{refused}");
    }
}
