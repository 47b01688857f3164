//! Many files in one directory: what each costs, how listing goes on, how long opening takes.
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use vfs::{DirPosition, ListRequest};

use super::{BUCKET, Line, Opened, make_file, opening};
use crate::bench::objects::{resident, sized};

/// Makers at a time.
const MAKERS: u64 = 16;
/// Entries of a page.
const PAGE: usize = 1_000;

pub(super) async fn measure(dir: &Path, count: u64, report: &impl Fn(Line)) -> Result<()> {
    let opened = Opened::open(dir).await?;
    let bucket = opened.bucket().await?;
    let start = Instant::now();
    let makers: Vec<_> = (0..MAKERS)
        .map(|maker| {
            let vfs = opened.vfs.clone();
            tokio::spawn(async move {
                for number in (maker..count).step_by(MAKERS as usize) {
                    make_file(&vfs, bucket, &format!("file-{number:09}")).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for maker in makers {
        maker.await??;
    }
    opened.vfs.sync_namespace().await?;
    let took = start.elapsed();
    report(Line::named(
        &format!("{count} files in one directory: create"),
        count as f64 / took.as_secs_f64(),
    ));
    report(sized("  resident memory", resident("VmRSS:")?));
    report(sized(
        "  metadata on disk per file",
        opened.meta.disk_bytes()? / count.max(1),
    ));
    opened.close().await?;
    opening::measure(dir, report).await?;
    let opened = Opened::open(dir).await?;
    report_pages("  list, mount", readdir(&opened, bucket).await?, report);
    report_pages("  list, S3", list_objects(&opened).await?, report);
    report(sized("  resident memory, listed", resident("VmRSS:")?));
    report(sized("  most resident memory at any time", resident("VmHWM:")?));
    opened.close().await
}

async fn readdir(opened: &Opened, dir: vfs::InodeNo) -> Result<Vec<Duration>> {
    let (mut pages, mut after): (Vec<Duration>, Option<DirPosition>) = (Vec::new(), None);
    loop {
        let start = Instant::now();
        let page = opened.vfs.readdir(dir, after, PAGE).await?;
        pages.push(start.elapsed());
        let Some(last) = page.last() else {
            return Ok(pages);
        };
        after = Some(last.position.clone());
    }
}

async fn list_objects(opened: &Opened) -> Result<Vec<Duration>> {
    let (mut pages, mut start_after) = (Vec::new(), None);
    loop {
        let start = Instant::now();
        let request = ListRequest {
            start_after,
            max: PAGE,
            ..ListRequest::default()
        };
        let page = opened.vfs.list_objects(BUCKET, request).await?;
        pages.push(start.elapsed());
        if page.next.is_none() {
            return Ok(pages);
        }
        start_after = page.next;
    }
}

/// The rate of all pages, and how the last tenth compares with the first.
fn report_pages(what: &str, mut pages: Vec<Duration>, report: &impl Fn(Line)) {
    // The last may be empty.
    pages.pop();
    let sum = |pages: &[Duration]| pages.iter().sum::<Duration>().as_secs_f64();
    let tenth = (pages.len() / 10).max(1).min(pages.len());
    let (first, last) = (sum(&pages[..tenth]), sum(&pages[pages.len() - tenth..]));
    report(Line {
        note: Some(format!(
            "pages of {PAGE}; the last tenth takes {:.2} × as long as the first",
            last / first
        )),
        ..Line::named(what, (pages.len() * PAGE) as f64 / sum(&pages))
    });
}
