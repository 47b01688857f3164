//! Listing what lies in snapshots.
use super::list::{entry_info, list_below};
use crate::snapshot::{Listing, Located, Snapshots, shown_in};
use crate::vfs::{Core, View};
use crate::{ListPage, ListRequest, Result};

/// A page of a listing whose prefix leads below the `.snapshots` of a directory.
///
/// A prefix that ends within the name of a snapshot lists names, and with the delimiter `/` the
/// snapshots of directories as rolled-up prefixes; without it only those of files.
pub(super) fn list(
    core: &Core,
    view: View<'_>,
    snapshots: &Snapshots,
    located: Located,
    request: &ListRequest,
) -> Result<ListPage> {
    let (listing, snapshot, prefix, rest) = match located {
        Located::Live => return Ok(ListPage::default()),
        Located::Listing(listing) => return list_names(core, view, snapshots, &listing, request),
        Located::Inside {
            listing,
            snapshot,
            prefix,
            rest,
        } => (listing, snapshot, prefix, rest),
    };
    if !snapshot.record.directory {
        return list_names(core, view, snapshots, &listing, request);
    }
    // One view at a time: a database gives out few.
    drop(view);
    let start_after = match &request.start_after {
        Some(after) => match after.strip_prefix(prefix.as_slice()) {
            Some(after) => Some(after.to_vec()).filter(|after| !after.is_empty()),
            None if *after < prefix => None,
            None => return Ok(ListPage::default()),
        },
        None => None,
    };
    let inner = ListRequest {
        prefix: rest,
        start_after,
        ..request.clone()
    };
    let sight = core.sight_into(core.meta.snapshot()?, &snapshot)?;
    let (root, numbers) = (sight.ino, sight.numbers());
    let view = core.view_of(sight);
    let mut page = list_below(&view, root, &inner, |ino| numbers.show(ino))?;
    let whole = |key: &mut Vec<u8>| *key = [prefix.as_slice(), key.as_slice()].concat();
    page.objects.iter_mut().for_each(|object| whole(&mut object.key));
    page.prefixes.iter_mut().for_each(whole);
    page.next.iter_mut().for_each(whole);
    Ok(page)
}

/// Lists the snapshots of a directory and of the files in it.
fn list_names(
    core: &Core,
    view: View<'_>,
    snapshots: &Snapshots,
    listing: &Listing,
    request: &ListRequest,
) -> Result<ListPage> {
    let rolls_up = request.delimiter.as_deref() == Some(b"/");
    let mut shown = Vec::new();
    for (name, snapshot) in shown_in(view.snapshot(), snapshots, listing.directory)? {
        let end: &[u8] = if snapshot.record.directory { b"/" } else { b"" };
        let key = [listing.prefix.as_slice(), &name, end].concat();
        let is_after = request.start_after.as_ref().is_none_or(|after| key > *after);
        if name.starts_with(&listing.rest) && is_after && (rolls_up || !snapshot.record.directory) {
            shown.push((key, snapshot));
        }
    }
    drop(view);
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let mut page = ListPage::default();
    if shown.len() > request.max {
        shown.truncate(request.max);
        page.next = shown.last().map(|(key, _)| key.clone());
    }
    for (key, snapshot) in shown {
        if snapshot.record.directory {
            page.prefixes.push(key);
            continue;
        }
        let sight = core.sight_into(core.meta.snapshot()?, &snapshot)?;
        let (root, numbers) = (sight.ino, sight.numbers());
        let mut info = entry_info(&core.view_of(sight), key, root)?;
        info.ino = numbers.show(root)?;
        page.objects.push(info);
    }
    Ok(page)
}
