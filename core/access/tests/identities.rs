//! Identities over a real namespace: made, asked, changed, restarted, shared.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::identity::{
    Answer, Grant, NewKey, Order, PolicyTarget, Refusal, Registry, UserView, gateway_account,
};
use access::{Account, Error};
use meta::shared::Opening;
use meta::{EngineKind, FjallEngine, Meta, MetaConfig};
use store::{PassphraseCost, Store, StoreConfig};
use tempfile::TempDir;
use vfs::{Level, Vfs, VfsConfig};

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#;

async fn namespace(dir: &Path, meta: Meta) -> Vfs {
    let store = StoreConfig {
        staging_limit: 1 << 30,
        memory_cache: 1 << 20,
        disk_cache: 1 << 20,
        passphrase_cost: PassphraseCost::LIGHT,
        ..StoreConfig::new(dir.join("store"))
    };
    let passphrase = zeroize::Zeroizing::new(b"passphrase of a test".to_vec());
    let store = Store::open(store, meta.clone(), passphrase, None).await.unwrap();
    let config = VfsConfig {
        write_buffer: 1 << 20,
        write_back_age: Duration::from_secs(3600),
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(1),
    };
    Vfs::open(config, meta, store).await.unwrap()
}

async fn alone(dir: &Path) -> (Vfs, Registry) {
    let config = MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 8 << 20,
    };
    let vfs = namespace(dir, Meta::open(&config).unwrap()).await;
    let registry = Registry::open(vfs.clone()).await.unwrap();
    (vfs, registry)
}

async fn create_user(registry: &Registry, name: &str) -> UserView {
    let order = Order::CreateUser {
        account: None,
        name: name.into(),
    };
    match registry.carry_out(order).await.unwrap() {
        Answer::Users(mut users) => users.remove(0),
        other => panic!("{other:?}"),
    }
}

async fn create_key(registry: &Registry, account: Option<&str>, user: Option<&str>) -> NewKey {
    let order = Order::CreateKey {
        account: account.map(str::to_owned),
        user: user.map(str::to_owned),
    };
    key(registry.carry_out(order).await.unwrap())
}

fn key(answer: Answer) -> NewKey {
    match answer {
        Answer::Key(key) => key,
        other => panic!("{other:?}"),
    }
}

async fn done(registry: &Registry, order: Order) {
    assert_eq!(registry.carry_out(order).await.unwrap(), Answer::Done);
}

fn put_policy(name: &str, document: &str) -> Order {
    Order::PutPolicy {
        account: None,
        name: name.into(),
        document: document.into(),
    }
}

fn attach(name: &str, target: PolicyTarget) -> Order {
    Order::AttachPolicy {
        account: None,
        name: name.into(),
        target,
    }
}

fn grant(expires: i64) -> Grant {
    Grant {
        account: gateway_account().id,
        user: None,
        role: None,
        name: "s".into(),
        policy: None,
        expires,
        context: BTreeMap::new(),
    }
}

const LATER: i64 = i64::MAX;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_his_own_policies_and_those_of_his_groups() {
    let dir = TempDir::new().unwrap();
    let (_vfs, registry) = alone(dir.path()).await;
    create_user(&registry, "ann").await;
    let made = create_key(&registry, None, Some("ann")).await;
    for name in ["readers", "writers"] {
        let order = Order::CreateGroup {
            account: None,
            name: name.into(),
        };
        registry.carry_out(order).await.unwrap();
    }
    for name in ["own", "of-readers", "of-writers"] {
        done(&registry, put_policy(name, POLICY)).await;
    }
    done(&registry, attach("own", PolicyTarget::User("ann".into()))).await;
    done(
        &registry,
        attach("of-readers", PolicyTarget::Group("readers".into())),
    )
    .await;
    done(
        &registry,
        attach("of-writers", PolicyTarget::Group("writers".into())),
    )
    .await;
    let join = Order::AddToGroup {
        account: None,
        group: "readers".into(),
        user: "ann".into(),
    };
    done(&registry, join).await;
    let ann = registry.caller(&made.access_key, None).unwrap();
    let names: Vec<_> = ann.policies().iter().map(|policy| policy.name.clone()).collect();
    assert_eq!(names, ["of-readers", "own"]);
    assert_eq!(ann.user.as_ref().unwrap().groups, ["readers"]);
    assert!(!ann.is_account());
    assert_eq!(
        registry.secret(&made.access_key).unwrap().as_str(),
        made.secret_key
    );
    let leave = Order::RemoveFromGroup {
        account: None,
        group: "readers".into(),
        user: "ann".into(),
    };
    done(&registry, leave).await;
    let ann = registry.caller(&made.access_key, None).unwrap();
    assert_eq!(ann.policies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_depend_on_is_not_deleted() {
    let dir = TempDir::new().unwrap();
    let (vfs, registry) = alone(dir.path()).await;
    let acme = || Some("acme".to_owned());
    let made = registry
        .carry_out(Order::CreateAccount { name: "acme".into() })
        .await
        .unwrap();
    let Answer::Accounts(accounts) = made else {
        panic!()
    };
    let account = Account {
        id: accounts[0].id.clone(),
        name: "acme".into(),
    };
    let user = |name: &str| Order::CreateUser {
        account: acme(),
        name: name.into(),
    };
    registry.carry_out(user("bob")).await.unwrap();
    let twice = registry.carry_out(user("bob")).await;
    assert!(
        matches!(twice, Err(Error::Exists(access::Kind::User, _))),
        "{twice:?}"
    );
    for bad in ["", "a/b", "a b"] {
        assert!(matches!(
            registry.carry_out(user(bad)).await,
            Err(Error::Invalid(_))
        ));
    }
    let made = create_key(&registry, Some("acme"), Some("bob")).await;
    let delete_user = || Order::DeleteUser {
        account: acme(),
        name: "bob".into(),
    };
    let delete_account = || Order::DeleteAccount { name: "acme".into() };
    for order in [delete_user(), delete_account()] {
        let refused = registry.carry_out(order).await;
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    }
    let access_key = made.access_key.clone();
    done(&registry, Order::DeleteKey { access_key }).await;
    assert_eq!(registry.caller(&made.access_key, None), Err(Refusal::UnknownKey));
    done(&registry, delete_user()).await;
    let settings = [(
        access::owner::SETTING.to_owned(),
        access::owner::setting(&account).unwrap(),
    )];
    let new = vfs::NewBucket {
        settings: settings.into(),
        ..vfs::NewBucket::default()
    };
    vfs.create_bucket_with("theirs", new).await.unwrap();
    let refused = registry.carry_out(delete_account()).await;
    assert!(refused.unwrap_err().to_string().contains("bucket theirs"));
    vfs.delete_bucket("theirs").await.unwrap();
    done(&registry, delete_account()).await;
    assert!(registry.known().account(&account.id).is_none());
    // A policy in use, and one that nobody understands.
    create_user(&registry, "ann").await;
    done(&registry, put_policy("p", POLICY)).await;
    done(&registry, attach("p", PolicyTarget::User("ann".into()))).await;
    let delete = || Order::DeletePolicy {
        account: None,
        name: "p".into(),
    };
    assert!(matches!(
        registry.carry_out(delete()).await,
        Err(Error::InUse { .. })
    ));
    let refused = registry.carry_out(put_policy("q", "{}")).await;
    assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_disabled_rotated_and_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let (first, second) = {
        let (vfs, registry) = alone(dir.path()).await;
        create_user(&registry, "ann").await;
        let first = create_key(&registry, None, Some("ann")).await;
        let access_key = first.access_key.clone();
        let second = key(registry.carry_out(Order::RotateKey { access_key }).await.unwrap());
        assert_eq!(registry.caller(&first.access_key, None), Err(Refusal::UnknownKey));
        assert!(registry.secret(&first.access_key).is_none());
        vfs.shutdown().await.unwrap();
        (first, second)
    };
    let (_vfs, registry) = alone(dir.path()).await;
    assert_eq!(
        registry.secret(&second.access_key).unwrap().as_str(),
        second.secret_key
    );
    assert_eq!(
        registry
            .caller(&second.access_key, None)
            .unwrap()
            .user
            .as_ref()
            .unwrap()
            .name,
        "ann"
    );
    assert!(registry.secret(&first.access_key).is_none());
    let access_key = first.access_key.clone();
    done(&registry, Order::EnableKey { access_key }).await;
    assert_eq!(
        registry.secret(&first.access_key).unwrap().as_str(),
        first.secret_key
    );
}

/// Neither the engine's files nor the store's hold a secret as it is, nor does anything that is shown.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_at_rest_and_never_shown() {
    let dir = TempDir::new().unwrap();
    let (vfs, registry) = alone(dir.path()).await;
    create_user(&registry, "ann").await;
    let made = create_key(&registry, None, Some("ann")).await;
    let issued = registry.issue(grant(LATER)).unwrap();
    for shown in [
        format!("{made:?}"),
        format!("{issued:?}"),
        format!("{:?}", registry.known()),
    ] {
        for secret in [
            made.secret_key.as_str(),
            issued.secret_key.as_str(),
            issued.token.as_str(),
        ] {
            assert!(!shown.contains(secret));
        }
    }
    vfs.shutdown().await.unwrap();
    let (mut files, mut found) = (0, false);
    let mut directories = vec![dir.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!holds(&made.secret_key), "{}", path.display());
            found |= holds(&made.access_key);
        }
    }
    assert!(
        files > 0 && found,
        "the row with the sealed secret was not looked at"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_their_time_their_user_and_their_role() {
    let dir = TempDir::new().unwrap();
    let (_vfs, registry) = alone(dir.path()).await;
    create_user(&registry, "ann").await;
    let role = || Order::PutRole {
        account: None,
        name: "night".into(),
        trust: TRUST.into(),
        max_session: 3600,
    };
    registry.carry_out(role()).await.unwrap();
    done(&registry, put_policy("p", POLICY)).await;
    done(&registry, attach("p", PolicyTarget::Role("night".into()))).await;

    let own = registry.issue(grant(LATER)).unwrap();
    let caller = registry.caller(&own.access_key, Some(&own.token)).unwrap();
    assert!(caller.is_account());
    assert_eq!(registry.secret(&own.access_key).unwrap(), own.secret_key);

    let of_role = registry
        .issue(Grant {
            role: Some("night".into()),
            policy: Some(POLICY.into()),
            ..grant(LATER)
        })
        .unwrap();
    let caller = registry
        .caller(&of_role.access_key, Some(&of_role.token))
        .unwrap();
    assert!(!caller.is_account());
    assert_eq!(caller.policies()[0].name, "p");
    assert!(caller.arn().ends_with(":assumed-role/night/s"));
    assert_eq!(
        caller.session.as_ref().unwrap().policy.as_ref().unwrap().text,
        POLICY
    );

    let of_user = registry
        .issue(Grant {
            user: Some("ann".into()),
            ..grant(LATER)
        })
        .unwrap();
    assert!(registry.caller(&of_user.access_key, Some(&of_user.token)).is_ok());

    // Without its token, with another's, with a bent one, and with one that is over.
    let invalid = Err(Refusal::InvalidToken);
    assert_eq!(registry.caller(&own.access_key, None), invalid);
    assert_eq!(registry.caller(&own.access_key, Some(&of_role.token)), invalid);
    assert_eq!(registry.caller(&own.access_key, Some("AAAA")), invalid);
    let over = registry.issue(grant(1)).unwrap();
    assert_eq!(
        registry.caller(&over.access_key, Some(&over.token)),
        Err(Refusal::ExpiredToken)
    );

    // Another user and another role of the same names are not who the sessions stand for.
    let delete = Order::DeleteUser {
        account: None,
        name: "ann".into(),
    };
    done(&registry, delete).await;
    assert_eq!(
        registry.caller(&of_user.access_key, Some(&of_user.token)),
        invalid
    );
    create_user(&registry, "ann").await;
    assert_eq!(
        registry.caller(&of_user.access_key, Some(&of_user.token)),
        invalid
    );
    let delete = Order::DeleteRole {
        account: None,
        name: "night".into(),
    };
    done(&registry, delete).await;
    registry.carry_out(role()).await.unwrap();
    assert_eq!(
        registry.caller(&of_role.access_key, Some(&of_role.token)),
        invalid
    );
    assert!(
        registry
            .issue(Grant {
                role: Some("day".into()),
                ..grant(LATER)
            })
            .is_none()
    );
}

/// What one gateway is told, the other follows within a moment; a session of one is known to the other.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_a_namespace_know_the_same_identities() {
    let dir = TempDir::new().unwrap();
    let engine = FjallEngine::open(&dir.path().join("meta"), 8 << 20).unwrap();
    let first = Opening::first(Arc::new(engine));
    let second = first.another();
    let over = |opening| Meta::over(Arc::new(opening), &dir.path().join("guard")).unwrap();
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let a_vfs = namespace(a.path(), over(first)).await;
    let b_vfs = namespace(b.path(), over(second)).await;
    let (a, b) = (
        Registry::open(a_vfs).await.unwrap(),
        Registry::open(b_vfs).await.unwrap(),
    );
    create_user(&a, "ann").await;
    let made = create_key(&a, None, Some("ann")).await;
    let known = |want: bool| {
        let (b, access_key) = (b.clone(), made.access_key.clone());
        async move {
            for _ in 0..3000 {
                if b.caller(&access_key, None).is_ok() == want {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            false
        }
    };
    assert!(known(true).await);
    assert_eq!(b.secret(&made.access_key).unwrap().as_str(), made.secret_key);
    let issued = a.issue(grant(LATER)).unwrap();
    assert_eq!(b.secret(&issued.access_key).unwrap(), issued.secret_key);
    assert!(b.caller(&issued.access_key, Some(&issued.token)).is_ok());
    let access_key = made.access_key.clone();
    done(&a, Order::DisableKey { access_key }).await;
    assert!(known(false).await);
}
