//! Two gateways on one namespace and one network.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meta::Meta;
use tempfile::TempDir;

use super::store::{make_domain, open_over};
use crate::pack::record;
use crate::place::network::fake::Fake;
use crate::{PackStatus, PeerConfig, Store, testing};

/// `one`, the keeper, and `two`, with a key domain. There is a third handle on the metadata, for a gateway that comes
/// back.
pub(crate) struct Pair {
    pub(crate) dir: TempDir,
    pub(crate) fake: Arc<Fake>,
    pub(crate) metas: Vec<Meta>,
    pub(crate) one: Store,
    two: Option<Store>,
    peers: bool,
}

impl Pair {
    /// Opens both. With `peers` they answer each other what they have staged.
    pub(crate) async fn open(peers: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let fake = Arc::new(Fake::new(14));
        let metas = testing::shared(dir.path(), 3);
        let one = gateway(&dir, "one", &fake, &metas[0], peers).await;
        let two = gateway(&dir, "two", &fake, &metas[1], peers).await;
        make_domain(&one, &metas[0]).await;
        Self {
            dir,
            fake,
            metas,
            one,
            two: Some(two),
            peers,
        }
    }

    /// The second gateway.
    pub(crate) fn two(&self) -> &Store {
        self.two.as_ref().expect("it was killed and not started again")
    }

    /// Has `two` close its packs now.
    pub(crate) fn close_packs_of_two(&self) {
        self.two().placing.as_ref().unwrap().close_all().unwrap();
    }

    /// The packs that `two` made, as `one` shows them.
    pub(crate) fn packs_of_two(&self) -> Vec<PackStatus> {
        let snapshot = self.metas[0].snapshot().unwrap();
        let mut packs = self.one.status().unwrap().packs;
        packs.retain(|pack| record::member(&*snapshot, pack.id).unwrap() == 1);
        packs
    }

    /// Ends `two` as a crash does, and has `one` declare it dead.
    pub(crate) async fn kill_two(&mut self) {
        drop((self.two.take(), self.metas.remove(1)));
        self.one.inner.members.declare_dead(vec![(1, 1)]).await.unwrap();
    }

    /// Starts `two` again.
    pub(crate) async fn restart_two(&mut self) {
        self.two = Some(gateway(&self.dir, "two", &self.fake, &self.metas[1], self.peers).await);
    }

    pub(crate) async fn stop(&self) {
        if let Some(two) = &self.two {
            two.shutdown().await;
        }
        self.one.shutdown().await;
    }
}

async fn gateway(dir: &TempDir, name: &str, fake: &Arc<Fake>, meta: &Meta, peers: bool) -> Store {
    open_over(&dir.path().join(name), fake, meta.clone(), |config| {
        config.name = name.to_owned();
        config.checkpoint_interval = Some(Duration::from_secs(3600));
        // Nobody is declared dead because this machine is busy.
        config.member_patience = Duration::from_secs(600);
        config.peers = peers.then(|| PeerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
        });
    })
    .await
}
