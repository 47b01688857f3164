//! What a gateway says once everything serves: one line of JSON for scripts, or commands to paste.
//!
//! The JSON is a stable interface (README, "For scripts"): keys are added, never renamed. A door
//! that is closed is `null`.
use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::data_dir::AdminAddress;

/// Everything a client needs.
#[derive(Clone, Serialize)]
pub struct Ready {
    /// The S3 door.
    pub s3: Option<S3Ready>,
    /// The mount point.
    pub mount: Option<PathBuf>,
    /// The NBD door.
    pub nbd: Option<NbdReady>,
    /// The admin API.
    pub admin: AdminAddress,
    /// The chain.
    pub chain: ChainReady,
    /// The network in a box, when this program runs it.
    pub devnet: Option<DevnetReady>,
    /// Its miners.
    pub miners: Vec<MinerReady>,
}

/// `s3` of [`Ready`]. No `Debug`: it holds a secret.
#[derive(Clone, Serialize)]
pub struct S3Ready {
    /// `http://host:port`, or `https://host:port` where the door speaks TLS alone.
    pub endpoint: String,
    /// `https://host:port` where the door speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_endpoint: Option<String>,
    /// Region that signatures name.
    pub region: String,
    /// First access key.
    pub access_key: String,
    /// Its secret; `serve` leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
}

/// `nbd` of [`Ready`].
#[derive(Clone, Debug, Serialize)]
pub struct NbdReady {
    /// `nbd://host:port` or `nbd+unix:///?socket=…`; append `/bucket/key` for an export.
    pub uri: String,
}

/// `chain` of [`Ready`].
#[derive(Clone, Debug, Serialize)]
pub struct ChainReady {
    /// WebSocket URL.
    pub rpc: String,
}

/// `devnet` of [`Ready`].
#[derive(Clone, Debug, Serialize)]
pub struct DevnetReady {
    /// Its admin API.
    pub admin: String,
}

/// One of `miners` of [`Ready`].
#[derive(Clone, Debug, Serialize)]
pub struct MinerReady {
    /// SS58 account.
    pub account: String,
    /// `http://host:port`.
    pub endpoint: String,
}

impl Ready {
    /// Commands that work as pasted. `env_file` is a shell file that sets the S3 credentials.
    pub fn commands(&self, program: &str, data: &str, env_file: Option<&str>) -> String {
        let (program, data) = (&*quoted(program), &*quoted(data));
        let mut out = String::new();
        let mut line = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{text}");
        };
        if let Some(s3) = &self.s3 {
            line("S3: set the credentials in your shell first, then any S3 tool:");
            if let Some(env_file) = env_file {
                line(&format!("  . {}", quoted(env_file)));
            }
            line(&format!("  aws --endpoint-url {} s3 mb s3://photos", s3.endpoint));
            line(&format!(
                "  aws --endpoint-url {} s3 cp FILE s3://photos/FILE",
                s3.endpoint
            ));
            line(&format!(
                "  rclone copy DIRECTORY :s3:photos/DIRECTORY --s3-provider Other --s3-env-auth \
                 --s3-endpoint {} --s3-region {}",
                s3.endpoint, s3.region
            ));
            line("");
        }
        if let Some(mount) = &self.mount {
            line("Network drive: every bucket is a directory here, every object a file:");
            line(&format!("  ls -l {}", quoted(&mount.display().to_string())));
            line("");
        }
        if let Some(nbd) = &self.nbd {
            line("Block device: any file is an export; volumes are made by a command:");
            line(&format!(
                "  {program} volume create photos/disk --size 1GiB --data {data}"
            ));
            line(&format!("  qemu-img info '{}'", nbd.export("photos/disk")));
            line(&format!(
                "  qemu-img convert -n -O raw IMAGE '{}'",
                nbd.export("photos/disk")
            ));
            line(&format!("  nbdcopy IMAGE '{}'", nbd.export("photos/disk")));
            line("");
        }
        line("Where the data is:");
        line(&format!("  {program} flush --wait placed --data {data}"));
        line(&format!("  {program} status --data {data}"));
        out
    }
}

/// A word as a POSIX shell takes it, in quotes where it needs them.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

impl NbdReady {
    /// The URI of one export.
    fn export(&self, name: &str) -> String {
        match self.uri.split_once("?socket=") {
            Some((base, socket)) => format!("{base}{name}?socket={socket}"),
            None => format!("{}/{name}", self.uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        for (path, word) in [
            ("/srv/cess-dev/größe_1", "/srv/cess-dev/größe_1"),
            ("/home/me/my data", "'/home/me/my data'"),
            ("/it's;$HOME", r"'/it'\''s;$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(path), word);
        }
        let ready = Ready {
            s3: Some(S3Ready {
                endpoint: "http://127.0.0.1:1".into(),
                tls_endpoint: None,
                region: "us-east-1".into(),
                access_key: String::new(),
                secret_key: None,
            }),
            mount: Some("/a b/mnt".into()),
            nbd: None,
            admin: AdminAddress {
                url: String::new(),
                token: String::new(),
            },
            chain: ChainReady { rpc: String::new() },
            devnet: None,
            miners: Vec::new(),
        };
        let text = ready.commands("/a b/gateway", "/a b", Some("/a b/env.sh"));
        assert!(text.contains("  . '/a b/env.sh'\n"), "{text}");
        assert!(text.contains("  ls -l '/a b/mnt'\n"), "{text}");
        assert!(text.contains("  '/a b/gateway' status --data '/a b'\n"), "{text}");
    }

    #[test]
    fn export_uris() {
        let tcp = NbdReady {
            uri: "nbd://127.0.0.1:10809".into(),
        };
        assert_eq!(tcp.export("b/k"), "nbd://127.0.0.1:10809/b/k");
        let unix = NbdReady {
            uri: "nbd+unix:///?socket=/run/x".into(),
        };
        assert_eq!(unix.export("b/k"), "nbd+unix:///b/k?socket=/run/x");
    }
}
