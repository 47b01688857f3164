//! The country of an address, by a file in MaxMind DB format that the operator supplies.
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, path};

use crate::{Error, Result};

/// A country: two letters of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl std::str::FromStr for Country {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(format!("{text:?} is not a country: two letters, such as DE")),
        }
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl std::fmt::Debug for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A GeoIP file in memory.
pub(super) struct Countries(Reader<Vec<u8>>);

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Countries")
            .field(&self.0.metadata().database_type)
            .finish()
    }
}

impl Countries {
    /// Reads the file. [`Error::Disk`] when it cannot be read or is something else.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Reader::open_readfile(path)
            .map(Self)
            .map_err(|error| Error::Disk(format!("GeoIP file {}: {error}", path.display())))
    }

    /// The country of an address, if the file knows it.
    pub(super) fn of(&self, address: IpAddr) -> Option<Country> {
        let found = self.0.lookup(address).ok()?;
        let code: Option<String> = found.decode_path(&path!["country", "iso_code"]).ok()?;
        code?.parse().ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(0x40 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }

    fn number(out: &mut Vec<u8>, key: &str, value: u16) {
        text(out, key);
        out.push(0xa2);
        out.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes a database of IPv4 networks and their countries.
    pub(crate) fn write(path: &Path, networks: &[(&str, &str)]) {
        // Each node has a record for bit 0 and one for bit 1: a node, or a country.
        #[derive(Clone, Copy)]
        enum Record {
            Nothing,
            Node(usize),
            Country(usize),
        }
        let mut nodes = vec![[Record::Nothing; 2]];
        let mut data = Vec::new();
        for (network, country) in networks {
            let (address, len) = network.split_once('/').unwrap();
            let (address, len): (Ipv4Addr, usize) = (address.parse().unwrap(), len.parse().unwrap());
            let bit = |at: usize| (u32::from(address) >> (31 - at)) as usize & 1;
            let mut node = 0;
            for at in 0..len - 1 {
                node = match nodes[node][bit(at)] {
                    Record::Node(next) => next,
                    _ => {
                        nodes.push([Record::Nothing; 2]);
                        let next = nodes.len() - 1;
                        nodes[node][bit(at)] = Record::Node(next);
                        next
                    }
                };
            }
            nodes[node][bit(len - 1)] = Record::Country(data.len());
            data.push(0xe1);
            text(&mut data, "country");
            data.push(0xe1);
            text(&mut data, "iso_code");
            text(&mut data, country);
        }
        let mut file = Vec::new();
        for record in nodes.iter().flatten() {
            let value = match record {
                Record::Nothing => nodes.len(),
                Record::Node(node) => *node,
                Record::Country(offset) => nodes.len() + 16 + offset,
            };
            file.extend_from_slice(&(value as u32).to_be_bytes()[1..]);
        }
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&data);
        file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        file.push(0xe9);
        number(&mut file, "binary_format_major_version", 2);
        number(&mut file, "binary_format_minor_version", 0);
        number(&mut file, "ip_version", 4);
        number(&mut file, "record_size", 24);
        text(&mut file, "node_count");
        file.push(0xc4);
        file.extend_from_slice(&(nodes.len() as u32).to_be_bytes());
        text(&mut file, "build_epoch");
        file.extend_from_slice(&[0x08, 0x02]);
        file.extend_from_slice(&1_u64.to_be_bytes());
        text(&mut file, "database_type");
        text(&mut file, "Test-Country");
        text(&mut file, "languages");
        file.extend_from_slice(&[0x00, 0x04]);
        text(&mut file, "description");
        file.push(0xe0);
        std::fs::write(path, file).unwrap();
    }

    #[test]
    fn the_longest_way_through_the_tree_is_found() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("test.mmdb");
        write(
            &path,
            &[
                ("192.0.2.0/24", "DE"),
                ("192.0.3.128/25", "FR"),
                ("8.0.0.0/7", "US"),
            ],
        );
        let countries = Countries::open(&path).unwrap();
        let of = |address: &str| {
            countries
                .of(address.parse().unwrap())
                .map(|code| code.to_string())
        };
        assert_eq!(of("192.0.2.77").as_deref(), Some("DE"));
        assert_eq!(of("192.0.3.200").as_deref(), Some("FR"));
        assert_eq!(of("192.0.3.100"), None);
        assert_eq!(of("9.9.9.9").as_deref(), Some("US"));
        // The file has no such addresses.
        assert_eq!(of("2001:db8::1"), None);
    }

    #[test]
    fn what_is_no_geoip_file_is_refused_with_its_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("empty.mmdb");
        std::fs::write(&path, b"not a database").unwrap();
        for path in [path, dir.path().join("missing.mmdb")] {
            let error = Countries::open(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn countries_are_two_letters() {
        assert_eq!("de".parse::<Country>().unwrap().to_string(), "DE");
        for text in ["", "D", "DEU", "D1", "Ä"] {
            assert!(text.parse::<Country>().is_err(), "{text}");
        }
    }
}
