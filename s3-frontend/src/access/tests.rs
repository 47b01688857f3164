//! Requests of several accounts and their users, decided over a real namespace.
use std::time::Duration;

use access::{Identity, Policy, User};
use meta::{EngineKind, Meta, MetaConfig};
use store::{PassphraseCost, Store, StoreConfig};
use tempfile::TempDir;
use vfs::object::Commit;
use vfs::{Level, ObjectMeta, VfsConfig};

use super::fixed::Fixed;
use super::*;

const MIB: u64 = 1 << 20;

/// The bucket `b` of account 2 with the object `k`.
struct World {
    authorizer: Authorizer,
    vfs: Vfs,
    _dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::open(&MetaConfig {
            engine: EngineKind::Fjall,
            path: dir.path().join("meta"),
            cache_bytes: 8 * MIB,
        })
        .unwrap();
        let store = Store::open(
            StoreConfig {
                staging_limit: 64 * MIB,
                memory_cache: 4 * MIB,
                disk_cache: 4 * MIB,
                passphrase_cost: PassphraseCost::LIGHT,
                ..StoreConfig::new(dir.path().join("store"))
            },
            meta.clone(),
            zeroize::Zeroizing::new(b"passphrase of a test".to_vec()),
            None,
        )
        .await
        .unwrap();
        let config = VfsConfig {
            write_buffer: 4 * MIB,
            write_back_age: Duration::from_secs(1),
            ack: Level::Staged,
            ack_doors: Level::Staged,
            ack_timeout: Duration::from_secs(10),
        };
        let vfs = Vfs::open(config, meta, store).await.unwrap();
        vfs.create_bucket("b").await.unwrap();
        let world = Self {
            authorizer: Authorizer::new(vfs.clone(), Arc::new(Fixed::sample())),
            vfs,
            _dir: dir,
        };
        let owner = serde_json::to_string(&Fixed::account(2)).unwrap();
        world.set("owner", &owner).await;
        world.put("k", &[]).await;
        world
    }

    async fn set(&self, name: &str, value: &str) {
        let value = Some(value.as_bytes().to_vec());
        self.vfs.set_bucket_setting("b", name, value).await.unwrap();
    }

    async fn set_policy(&self, statement: &str) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
        Document::parse(&text, access::policy::Kind::Bucket("b")).unwrap();
        self.set(POLICY, &text).await;
    }

    async fn put(&self, key: &str, settings: &[(&str, &str)]) {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let meta = ObjectMeta {
            settings: settings.collect(),
            ..ObjectMeta::default()
        };
        let commit = Commit {
            etag: "tag".into(),
            meta,
            precondition: vfs::Precondition::default(),
            level: None,
        };
        let writer = self.vfs.object_writer("b", key.as_bytes()).await.unwrap();
        writer.commit(commit).await.unwrap();
    }

    /// The code of the refusal, or nothing.
    async fn ask(&self, caller: &Caller, operation: &str, key: &str) -> String {
        let uri: http::Uri = format!("/b/{key}").parse().unwrap();
        let headers = HeaderMap::new();
        let asked = Asked {
            caller: caller.clone(),
            bucket: Some(self.authorizer.buckets.of("b").await.unwrap()),
            context: conditions::of_request(caller, &headers, &uri, None),
        };
        let rule = rule_of(operation).unwrap();
        let decided = self
            .authorizer
            .on_request(&rule, &asked, &headers, &uri, "b", Some(key))
            .await;
        decided
            .err()
            .map(|error| error.code().as_str().to_owned())
            .unwrap_or_default()
    }

    async fn may(&self, caller: &Caller, operation: &str, key: &str) -> bool {
        self.ask(caller, operation, key).await.is_empty()
    }
}

fn account(seed: u8) -> Caller {
    Caller::Known(Arc::new(Identity {
        account: Fixed::account(seed),
        user: None,
        session: None,
    }))
}

fn user(seed: u8, policy: Option<&str>) -> Caller {
    let named = |text: &str| {
        Arc::new(Policy {
            name: "p".into(),
            text: text.into(),
        })
    };
    Caller::Known(Arc::new(Identity {
        account: Fixed::account(seed),
        user: Some(User {
            id: "AIDAANN".into(),
            name: "ann".into(),
            groups: vec![],
            policies: policy.map(|text| vec![named(text)]).unwrap_or_default(),
        }),
        session: None,
    }))
}

#[tokio::test]
async fn a_bucket_is_its_accounts_and_no_other_accounts() {
    let w = World::new().await;
    let operations = [
        "GetObject",
        "PutObject",
        "DeleteObject",
        "ListObjects",
        "PutBucketPolicy",
    ];
    for operation in operations {
        assert!(w.may(&account(2), operation, "k").await, "{operation}");
        // Not even the gateway's own.
        for other in [
            account(1),
            account(3),
            Caller::Anonymous,
            user(2, None),
            user(3, None),
        ] {
            assert_eq!(
                w.ask(&other, operation, "k").await,
                "AccessDenied",
                "{other} {operation}"
            );
        }
    }
    assert_eq!(w.ask(&account(3), "GetObject", "none").await, "AccessDenied");
}

#[tokio::test]
async fn users_do_what_their_policies_say() {
    let w = World::new().await;
    let home = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*Object",
        "Resource":"arn:aws:s3:::b/${aws:username}/*"}}"#;
    w.put("ann/k", &[]).await;
    let ann = user(2, Some(home));
    assert!(w.may(&ann, "GetObject", "ann/k").await && w.may(&ann, "PutObject", "ann/new").await);
    assert!(!w.may(&ann, "GetObject", "k").await && !w.may(&ann, "ListObjects", "").await);
    // In another account the same policy is not enough, and it is needed.
    let number = Fixed::account(3).id.number();
    w.set_policy(&format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{number}"}},"Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}}"#
    ))
    .await;
    assert!(w.may(&account(3), "GetObject", "k").await);
    assert!(w.may(&user(3, Some(home)), "GetObject", "ann/k").await);
    assert!(!w.may(&user(3, Some(home)), "GetObject", "k").await);
    assert!(!w.may(&user(1, Some(home)), "GetObject", "ann/k").await);
    // A policy that cannot be read allows nothing.
    assert!(!w.may(&user(2, Some("{}")), "GetObject", "ann/k").await);
}

#[tokio::test]
async fn an_object_of_another_account_is_that_accounts() {
    let w = World::new().await;
    w.set(OWNERSHIP, r#"{"object_ownership":"ObjectWriter"}"#).await;
    let mut acl = Acl::private(Fixed::account(3));
    w.put("theirs", &[(acl::SETTING, acl.write().as_str())]).await;
    for operation in ["GetObject", "GetObjectAcl", "PutObjectAcl"] {
        assert!(w.may(&account(3), operation, "theirs").await, "{operation}");
        assert!(!w.may(&account(2), operation, "theirs").await, "{operation}");
    }
    // To delete it or write over it is the bucket owner's.
    for operation in ["PutObject", "DeleteObject"] {
        assert!(w.may(&account(2), operation, "theirs").await, "{operation}");
        assert!(!w.may(&account(3), operation, "theirs").await, "{operation}");
    }
    // The bucket's policy gives nothing that is not the bucket's.
    w.set_policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#,
    )
    .await;
    assert!(w.may(&account(1), "GetObject", "k").await);
    assert!(!w.may(&account(1), "GetObject", "theirs").await);
    acl.grants.push(acl::Grant {
        to: acl::Grantee::Account(Fixed::account(2)),
        permission: Permission::Read,
    });
    w.put("theirs", &[(acl::SETTING, acl.write().as_str())]).await;
    assert!(w.may(&account(2), "GetObject", "theirs").await);
    assert!(!w.may(&account(2), "GetObjectAcl", "theirs").await);
    // Where ACLs are off all is the bucket owner's.
    w.set(OWNERSHIP, r#"{"object_ownership":"BucketOwnerEnforced"}"#)
        .await;
    assert!(w.may(&account(2), "GetObjectAcl", "theirs").await);
    assert!(!w.may(&account(3), "GetObjectAcl", "theirs").await);
}

#[tokio::test]
async fn tags_of_an_object_are_looked_at() {
    let w = World::new().await;
    w.put("public", &[(TAGGING, r#"{"security":"public"}"#)]).await;
    w.put("private", &[(TAGGING, r#"{"security":"private"}"#)]).await;
    w.set_policy(
        r#"[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/security":"public"}}},
            {"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/security":"private"}}}]"#,
    )
    .await;
    assert!(w.may(&Caller::Anonymous, "GetObject", "public").await);
    assert!(!w.may(&Caller::Anonymous, "GetObject", "k").await);
    assert!(!w.may(&account(2), "GetObject", "private").await);
    assert!(w.may(&account(2), "GetObject", "k").await);
}

#[tokio::test]
async fn a_damaged_policy_shuts_the_bucket_to_all_but_its_owner() {
    let w = World::new().await;
    let everything = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    assert!(w.may(&user(2, Some(everything)), "GetObject", "k").await);
    w.set(POLICY, "{").await;
    assert!(!w.may(&user(2, Some(everything)), "GetObject", "k").await);
    assert!(w.may(&account(2), "DeleteBucketPolicy", "").await);
}

#[tokio::test]
async fn snapshots_and_trash_are_under_the_policies_of_what_they_were_taken_from() {
    let w = World::new().await;
    w.set_policy(
        r#"[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],
            "Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]},
            {"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/private/*"}]"#,
    )
    .await;
    for key in ["public/x", ".snapshots/S/public/x", "d/.snapshots/private@S"] {
        assert!(w.may(&Caller::Anonymous, "GetObject", key).await, "{key}");
    }
    for key in [
        "private/x",
        ".snapshots/S/private/x",
        "private/.snapshots/S/x",
        ".snapshots/private@S/x",
        ".snapshots/private:x@S",
        ".trash/2026-x",
    ] {
        assert!(!w.may(&Caller::Anonymous, "GetObject", key).await, "{key}");
    }
}
