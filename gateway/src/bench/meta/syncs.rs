//! How synced writers share syncs.
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{BUCKET, Line, Opened};
use crate::bench::repeat_in_parallel;

pub(super) async fn measure(dir: &Path, time: Duration, report: &impl Fn(Line)) -> Result<()> {
    let opened = Opened::open(dir).await?;
    opened.bucket().await?;
    let mut one = None;
    for writers in [1, 16] {
        let vfs = opened.vfs.clone();
        let before = opened.observer.counts();
        // An upload is one row, durable when it is answered.
        let (samples, elapsed) = repeat_in_parallel(writers, time, move |writer, number| {
            let vfs = vfs.clone();
            async move {
                let key = format!("{writer}/{number}");
                vfs.create_upload(BUCKET, key.as_bytes(), vfs::ObjectMeta::default())
                    .await?;
                Ok(())
            }
        })
        .await?;
        let asked = opened.observer.counts().since(&before);
        let mut line = samples.line(format!("synced writes, {writers} writers"), elapsed, 0);
        let multiple = line.per_second / *one.get_or_insert(line.per_second);
        line.note = Some(format!(
            "{:.1} writes per sync, {multiple:.1} × the rate of one writer",
            // Each sync commits a row of its own.
            (asked.commits - asked.syncs.min(asked.commits)) as f64 / asked.syncs.max(1) as f64,
        ));
        report(line);
    }
    opened.close().await
}
