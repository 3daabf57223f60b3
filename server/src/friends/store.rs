//! The store on disk: leaves of both directions, the log of changes, and what is read and written
//! of them. It blocks; it is used from threads of its own.
//!
//! One file of redb, in which a transaction is durable as a whole when it is committed. A commit
//! saves the allocator's state too (*quick repair*), so that a store whose server was killed opens
//! in milliseconds; without it redb reads the whole file first. Lookups go on during a commit,
//! except in those few in which redb makes the file longer.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, Table,
    TableDefinition, TableError, WriteTransaction,
};

use super::leaf::{self, Edit, FILL_BYTES, MAX_BYTES, Pair, Writer};
use super::number::Damaged;
use super::recent::{self, Change, Direction, Recent, SWEEP_FROM};
use crate::router::Id;
use crate::sync::{Mutex, RwLock};

/// The file in the folder of a store.
pub(super) const FILE: &str = "friends.redb";

/// The version of what stands in the file. Another one is refused.
const VERSION: u64 = 1;

/// Memory that the store keeps pages of its file in, if nobody says. The kernel has them too, so
/// that little is gained by more: a lookup whose page is not here is a read of 4 KiB.
pub(super) const DEFAULT_CACHE_BYTES: usize = 24 * 1024 * 1024;

/// Edits that a commit brings into the leaves for each change in it, while a sweep is on. A change
/// is two edits; with more than two, what has gathered gets less.
const SWEPT_FOR_EACH: usize = 4;

/// The least number of edits that a commit brings into the leaves while a sweep is on.
const MIN_SWEPT: usize = 64;

/// Changes noted under one lock: about a tenth of a millisecond, for which lookups wait.
const NOTED_AT_ONCE: usize = 256;

/// A leaf that is shorter is put together with the next one, if both are half a leaf.
const SHORT_BYTES: usize = MAX_BYTES / 4;

/// What is known of the file itself: `version`.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The changes that leaves do not know yet, a batch a row.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");

/// The leaves of a direction, each with the first pair that may stand in it.
fn leaves(direction: Direction) -> TableDefinition<'static, Pair, &'static [u8]> {
    TableDefinition::new(match direction {
        Direction::Follows => "follows",
        Direction::Followers => "followers",
    })
}

/// The key of the first leaf, which is always there.
const FIRST: Pair = (0, 0);

/// Why a store does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// It is not one, or not of this version.
    #[error("{0}")]
    Unusable(String),
    /// What stands in it makes no sense.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The disk, or redb.
    #[error("the store of friends cannot be used: {0}")]
    Failed(#[from] redb::Error),
}

/// Makes errors of redb's many kinds into ours.
macro_rules! from_redb {
    ($($kind:ident),*) => {
        $(impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                Self::Failed(error.into())
            }
        })*
    };
}
from_redb!(CommitError, StorageError, TableError, TransactionError, SetDurabilityError);

/// Opens the file, again and again.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>;

/// A store that is open.
pub(super) struct Store {
    /// Opens the file.
    opener: Opener,
    /// The file; none after an error, until it could be opened again.
    database: RwLock<Option<Database>>,
    /// What the leaves do not know yet.
    recent: RwLock<Recent>,
    /// How far the sweep is. Whoever writes holds it.
    sweep: Mutex<Sweep>,
    /// From how many changes on there is a sweep.
    sweep_from: usize,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// How far the leaves know of the changes.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    /// The number of the log's next row.
    next_row: u64,
    /// The first row that was not there when the sweep began.
    first_row_after: u64,
    /// The direction and the pair where it goes on; none when there is no sweep.
    at: Option<(Direction, Pair)>,
}

/// Part of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Ids, in ascending order.
    pub(crate) ids: Vec<Id>,
    /// Behind which id the next part begins, unless this is the last one.
    pub(crate) next: Option<Id>,
}

/// Opens the file of a folder, and makes both if they are not there.
pub(super) fn open_in(folder: &Path, cache_bytes: usize) -> Result<Store, StoreError> {
    let failed = |error: io::Error| {
        StoreError::Unusable(format!("cannot make the folder {}: {error}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = folder.join(FILE);
    Store::open(Box::new(move || open_file(&file, cache_bytes, true)), SWEEP_FROM)
}

/// Opens a folder's file, which is there.
pub(super) fn open_existing(folder: &Path, cache_bytes: usize) -> Result<Store, StoreError> {
    let file = folder.join(FILE);
    Store::open(Box::new(move || open_file(&file, cache_bytes, false)), SWEEP_FROM)
}

/// Opens a file, which is made if that `may_begin`.
fn open_file(file: &PathBuf, cache_bytes: usize, may_begin: bool) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    let opened = if may_begin { builder.create(file) } else { builder.open(file) };
    opened.map_err(|error| {
        let file = file.display();
        StoreError::Unusable(match error {
            DatabaseError::DatabaseAlreadyOpen => {
                format!("{file} is open in another server; a store has one server at a time")
            }
            DatabaseError::UpgradeRequired(version) => {
                format!("{file} is of version {version} of redb, which this server does not read")
            }
            error => format!("cannot open {file}: {error}"),
        })
    })
}

impl Store {
    /// Opens a store, and begins an empty one if the file is empty. Changes are brought into the
    /// leaves when they are `sweep_from`.
    pub(super) fn open(opener: Opener, sweep_from: usize) -> Result<Self, StoreError> {
        let database = opener()?;
        begin(&database)?;
        let (recent, next_row) = read_log(&database)?;
        Ok(Self {
            opener,
            database: RwLock::new(Some(database)),
            recent: RwLock::new(recent),
            sweep: Mutex::new(Sweep { next_row, first_row_after: 0, at: None }),
            sweep_from,
        })
    }

    /// Opens the file again, after an error that redb does not go on from. What was being written
    /// then may be there or not: the log says so.
    fn reopen(&self, sweep: &mut Sweep) -> Result<(), StoreError> {
        let mut database = self.database.write();
        // The old one holds the lock of the file.
        *database = None;
        let opened = (self.opener)()?;
        begin(&opened)?;
        let (recent, next_row) = read_log(&opened)?;
        *self.recent.write() = recent;
        *sweep = Sweep { next_row, first_row_after: 0, at: None };
        *database = Some(opened);
        Ok(())
    }

    /// Carries out changes in their order, durably, all or none. Says of each whether it changed
    /// anything.
    pub(super) fn change(&self, changes: &[Change]) -> Result<Vec<bool>, StoreError> {
        let mut sweep = self.sweep.lock();
        if self.database.read().is_none() {
            self.reopen(&mut sweep)?;
        }
        let done = self.try_change(changes, &mut sweep);
        if done.is_err()
            && let Err(error) = self.reopen(&mut sweep)
        {
            tracing::warn!("the store of friends does not open again: {error}");
        }
        done
    }

    /// The same, with a file that is good.
    fn try_change(&self, changes: &[Change], sweep: &mut Sweep) -> Result<Vec<bool>, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(closed)?;
        let has_changed = self.compare(database, changes)?;
        let made = changes.iter().zip(&has_changed).filter(|(_, changed)| **changed);
        let made: Vec<Change> = made.map(|(change, _)| *change).collect();
        if made.is_empty() {
            return Ok(has_changed);
        }
        let mut next = Sweep { next_row: sweep.next_row + 1, ..*sweep };
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(LOG)?.insert(sweep.next_row, &recent::encode(&made)[..])?;
        let swept = self.sweep_some(&transaction, made.len(), &mut next)?;
        transaction.commit()?;
        *sweep = next;
        // What was swept is forgotten first: a pair of it may be among the changes.
        for some in swept.chunks(NOTED_AT_ONCE) {
            let mut recent = self.recent.write();
            for (direction, edit) in some {
                recent.forget(*direction, edit);
            }
        }
        for some in made.chunks(NOTED_AT_ONCE) {
            let mut recent = self.recent.write();
            for change in some {
                recent.add(change);
            }
        }
        Ok(has_changed)
    }

    /// Says of each change whether it will change anything.
    fn compare(&self, database: &Database, changes: &[Change]) -> Result<Vec<bool>, StoreError> {
        let recent = self.recent.read();
        let reading = database.begin_read()?;
        let table = reading.open_table(leaves(Direction::Follows))?;
        let mut begun = HashMap::new();
        changes
            .iter()
            .map(|change| {
                let edit = change.edit(Direction::Follows);
                let before = begun.insert(edit.pair, edit.is_there);
                let was_there = match before.or_else(|| recent.get(Direction::Follows, edit.pair)) {
                    Some(was_there) => was_there,
                    None => contains(&table, edit.pair)?,
                };
                Ok(was_there != edit.is_there)
            })
            .collect()
    }

    /// Brings some edits into the leaves, if there are many, and returns them.
    fn sweep_some(
        &self,
        transaction: &WriteTransaction,
        n_changes: usize,
        sweep: &mut Sweep,
    ) -> Result<Vec<(Direction, Edit)>, StoreError> {
        if sweep.at.is_none() && self.recent.read().len() < self.sweep_from {
            return Ok(Vec::new());
        }
        let mut n_left = (n_changes * SWEPT_FOR_EACH).max(MIN_SWEPT);
        let mut swept = Vec::new();
        while n_left > 0 {
            let (direction, from) = *sweep.at.get_or_insert_with(|| {
                // The row of this very commit is not among what is swept.
                sweep.first_row_after = sweep.next_row - 1;
                (Direction::Follows, FIRST)
            });
            let edits = self.recent.read().edits(direction, from, n_left);
            apply(&mut transaction.open_table(leaves(direction))?, &edits)?;
            let is_direction_done = edits.len() < n_left;
            n_left -= edits.len();
            let last = edits.last().map(|edit| edit.pair);
            swept.extend(edits.into_iter().map(|edit| (direction, edit)));
            sweep.at = match (is_direction_done, direction) {
                (true, Direction::Follows) => Some((Direction::Followers, FIRST)),
                (true, Direction::Followers) => {
                    let mut log = transaction.open_table(LOG)?;
                    log.retain_in(..sweep.first_row_after, |_, _| false)?;
                    sweep.at = None;
                    break;
                }
                (false, _) => last.map(|(user, neighbour)| (direction, (user, neighbour + 1))),
            };
        }
        Ok(swept)
    }

    /// Part of a user's list: up to `limit` ids behind `after`.
    pub(super) fn page(
        &self,
        direction: Direction,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(closed)?;
        // The changes first: what is swept between is in the leaves then.
        let edits = self.recent.read().of_user(direction, user, after, limit + 1);
        let reading = database.begin_read()?;
        let table = reading.open_table(leaves(direction))?;
        page(&table, user, after, limit, &edits)
    }

    /// How many ids are in a user's list.
    pub(super) fn count(&self, direction: Direction, user: Id) -> Result<u64, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(closed)?;
        let edits = self.recent.read().of_user(direction, user, 0, usize::MAX);
        let reading = database.begin_read()?;
        let table = reading.open_table(leaves(direction))?;
        let mut n = 0;
        for entry in of_user(&table, user, 0)? {
            let (key, leaf) = entry?;
            let group = leaf::find(key.value().0, leaf.value(), user)?;
            n += group.map_or(0, |group| group.n);
        }
        for edit in edits {
            match (edit.is_there, contains(&table, edit.pair)?) {
                (true, false) => n += 1,
                (false, true) => n = n.checked_sub(1).ok_or(Damaged)?,
                _ => {}
            }
        }
        Ok(n)
    }

    /// Shows all pairs of a direction, in their order, as they were when it began.
    pub(super) fn for_each<E: From<StoreError>>(
        &self,
        direction: Direction,
        mut show: impl FnMut(Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(closed)?;
        let edits = self.recent.read().edits(direction, FIRST, usize::MAX);
        let mut edits = edits.into_iter().peekable();
        let reading = database.begin_read().map_err(StoreError::from)?;
        let table = reading.open_table(leaves(direction)).map_err(StoreError::from)?;
        let mut n_leaves = 0_u64;
        for entry in table.range::<Pair>(..).map_err(StoreError::from)? {
            let (key, leaf) = entry.map_err(StoreError::from)?;
            n_leaves += 1;
            let mut last = key.value();
            for (number, pair) in leaf::pairs(key.value().0, leaf.value()).enumerate() {
                let pair = pair.map_err(StoreError::from)?;
                if pair < last || number > 0 && pair == last {
                    return Err(StoreError::from(Damaged).into());
                }
                last = pair;
                while let Some(edit) = edits.next_if(|edit| edit.pair < pair) {
                    if edit.is_there {
                        show(edit.pair)?;
                    }
                }
                let edit = edits.next_if(|edit| edit.pair == pair);
                if edit.is_none_or(|edit| edit.is_there) {
                    show(pair)?;
                }
            }
        }
        if n_leaves == 0 {
            return Err(StoreError::from(Damaged).into());
        }
        edits.filter(|edit| edit.is_there).try_for_each(|edit| show(edit.pair))
    }

    /// Whether every page of the file has what was written there. What is not so is mended, if it
    /// can be.
    pub(super) fn is_whole(&mut self) -> Result<bool, StoreError> {
        let mut database = self.database.write();
        let database = database.as_mut().ok_or_else(closed)?;
        database.check_integrity().map_err(|error| StoreError::Unusable(error.to_string()))
    }

    /// How many changes wait to be brought into the leaves.
    #[cfg(test)]
    pub(super) fn n_recent(&self) -> usize {
        self.recent.read().len()
    }

    /// How many leaves a direction has.
    #[cfg(test)]
    pub(super) fn n_leaves(&self, direction: Direction) -> u64 {
        use redb::ReadableTableMetadata as _;
        let database = self.database.read();
        let reading = database.as_ref().unwrap().begin_read().unwrap();
        reading.open_table(leaves(direction)).unwrap().len().unwrap()
    }
}

/// Makes a file that is a store and not loaded yet.
pub(super) fn create(file: &PathBuf, cache_bytes: usize) -> Result<Database, StoreError> {
    open_file(file, cache_bytes, true)
}

/// Fills an empty file with pairs: `fill` gets each direction and where its sorted pairs go, each
/// pair once. Nothing is durable before all is.
pub(super) fn fill<E: From<StoreError>>(
    database: &Database,
    mut fill: impl FnMut(Direction, &mut dyn FnMut(Pair) -> Result<(), E>) -> Result<(), E>,
) -> Result<(), E> {
    let mut transaction = database.begin_write().map_err(StoreError::from)?;
    transaction.set_quick_repair(true);
    for direction in Direction::ALL {
        let mut table = transaction.open_table(leaves(direction)).map_err(StoreError::from)?;
        let mut writer = Writer::new(FILL_BYTES, FIRST);
        let mut emit =
            |key, leaf: &[u8]| table.insert(key, leaf).map(|_| ()).map_err(StoreError::from);
        fill(direction, &mut |pair| Ok(writer.push(pair, &mut emit)?))?;
        writer.finish(&mut emit)?;
    }
    let mut about = transaction.open_table(ABOUT).map_err(StoreError::from)?;
    about.insert("version", VERSION).map_err(StoreError::from)?;
    drop(about);
    transaction.open_table(LOG).map_err(StoreError::from)?;
    Ok(transaction.commit().map_err(StoreError::from)?)
}

/// The error of a store that could not be opened again after an error.
fn closed() -> StoreError {
    StoreError::Unusable("the store of friends is closed after an error of the disk".to_owned())
}

/// Checks what a file is, and makes an empty store of an empty one.
fn begin(database: &Database) -> Result<(), StoreError> {
    let version = match database.begin_read()?.open_table(ABOUT) {
        Ok(about) => about.get("version")?.map(|version| version.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match version {
        Some(VERSION) => Ok(()),
        Some(other) => Err(StoreError::Unusable(format!(
            "the store of friends is of version {other}, and this server reads version {VERSION}; \
             write it out with the server that made it (friends dump), and load it with this one"
        ))),
        None if database.begin_read()?.list_tables()?.next().is_some() => {
            Err(StoreError::Unusable("the file is no store of friends".to_owned()))
        }
        None => fill::<StoreError>(database, |_, _| Ok(())),
    }
}

/// Reads the log. Returns the changes in it, and the number of the next row.
fn read_log(database: &Database) -> Result<(Recent, u64), StoreError> {
    let reading = database.begin_read()?;
    let log = reading.open_table(LOG)?;
    let mut changes = Vec::new();
    let mut next_row = 0;
    for row in log.range::<u64>(..)? {
        let (number, row) = row?;
        changes.extend(recent::decode(row.value())?);
        next_row = number.value() + 1;
    }
    Ok((Recent::of_log(&changes), next_row))
}

/// The leaves in which neighbours of a user behind `after` may stand.
fn of_user(
    table: &ReadOnlyTable<Pair, &'static [u8]>,
    user: Id,
    after: Id,
) -> Result<redb::Range<'static, Pair, &'static [u8]>, StoreError> {
    let first = (user, after.saturating_add(1));
    let before = table.range(..=first)?.next_back().transpose()?;
    let first = before.map_or(FIRST, |(key, _)| key.value());
    Ok(table.range(first..=(user, Id::MAX))?)
}

/// Whether a pair stands in the leaves.
fn contains(table: &ReadOnlyTable<Pair, &'static [u8]>, pair: Pair) -> Result<bool, StoreError> {
    let Some(entry) = table.range(..=pair)?.next_back() else { return Ok(false) };
    let (key, leaf) = entry?;
    let Some(group) = leaf::find(key.value().0, leaf.value(), pair.0)? else { return Ok(false) };
    for neighbour in group.neighbours() {
        let neighbour = neighbour?;
        if neighbour >= pair.1 {
            return Ok(neighbour == pair.1);
        }
    }
    Ok(false)
}

/// Part of a user's list: what the leaves say, with `edits` of what is behind `after`, which are
/// all of them or more than `limit`.
fn page(
    table: &ReadOnlyTable<Pair, &'static [u8]>,
    user: Id,
    after: Id,
    limit: usize,
    edits: &[Edit],
) -> Result<Page, StoreError> {
    let mut ids = Vec::new();
    // Behind the last edit that was looked up there may be others, which are not known here.
    let end = if edits.len() > limit { edits[limit].pair.1 } else { Id::MAX };
    let mut edits = edits.iter().peekable();
    let full = |ids: Vec<Id>| {
        let next = ids.last().copied();
        Ok(Page { ids, next })
    };
    // Most users have all their neighbours in one leaf, which one search finds.
    for entry in of_user(table, user, after)? {
        let (key, leaf) = entry?;
        let group = leaf::find(key.value().0, leaf.value(), user)?;
        for neighbour in group.iter().flat_map(leaf::Group::neighbours) {
            let neighbour = neighbour?;
            if neighbour <= after {
                continue;
            }
            while let Some(edit) = edits.next_if(|edit| edit.pair.1 < neighbour) {
                if edit.is_there && ids.len() == limit {
                    return full(ids);
                }
                if edit.is_there {
                    ids.push(edit.pair.1);
                }
            }
            if neighbour > end {
                return Ok(Page { ids, next: Some(end) });
            }
            let edit = edits.next_if(|edit| edit.pair.1 == neighbour);
            if edit.is_none_or(|edit| edit.is_there) {
                if ids.len() == limit {
                    return full(ids);
                }
                ids.push(neighbour);
            }
        }
    }
    for edit in edits.filter(|edit| edit.is_there) {
        if ids.len() == limit {
            return full(ids);
        }
        ids.push(edit.pair.1);
    }
    let next = (end < Id::MAX).then_some(end);
    Ok(Page { ids, next })
}

/// Carries out sorted edits on the leaves.
fn apply(table: &mut Table<'_, Pair, &'static [u8]>, edits: &[Edit]) -> Result<(), StoreError> {
    let mut rest = edits;
    let mut edited = Vec::with_capacity(MAX_BYTES);
    while let [first, ..] = rest {
        let key = {
            let found = table.range(..=first.pair)?.next_back().ok_or(Damaged)??;
            let (key, leaf) = (found.0.value(), found.1);
            let next = key_behind(table, key)?;
            let n = next.map_or(rest.len(), |next| rest.partition_point(|edit| edit.pair < next));
            edited.clear();
            leaf::edit(key.0, leaf.value(), &rest[..n], &mut edited)?;
            rest = &rest[n..];
            key
        };
        replace(table, key, &edited)?;
    }
    Ok(())
}

/// The key of the leaf behind another one.
fn key_behind(
    table: &Table<'_, Pair, &'static [u8]>,
    key: Pair,
) -> Result<Option<Pair>, StoreError> {
    let range = (Bound::Excluded(key), Bound::Unbounded);
    let behind = table.range::<Pair>(range)?.next().transpose()?;
    Ok(behind.map(|(key, _)| key.value()))
}

/// Puts what has become of a leaf in its place: cut into several, if it is too long, or together
/// with the next one, if it is short.
fn replace(
    table: &mut Table<'_, Pair, &'static [u8]>,
    key: Pair,
    leaf: &[u8],
) -> Result<(), StoreError> {
    let mut leaf = std::borrow::Cow::Borrowed(leaf);
    if leaf.len() < SHORT_BYTES
        && let Some(next) = key_behind(table, key)?
    {
        let behind = table.get(next)?.ok_or(Damaged)?.value().to_vec();
        if leaf.len() + behind.len() <= MAX_BYTES / 2 {
            let all = leaf::pairs(key.0, &leaf).chain(leaf::pairs(next.0, &behind));
            let all = all.map(|pair| pair.map(|pair| Edit { pair, is_there: true }));
            let all = all.collect::<Result<Vec<_>, _>>()?;
            let mut both = Vec::new();
            leaf::edit(key.0, &[], &all, &mut both)?;
            table.remove(next)?;
            leaf = both.into();
        }
    }
    if leaf.len() <= MAX_BYTES {
        table.insert(key, &*leaf)?;
        return Ok(());
    }
    let n_pieces = leaf.len().div_ceil(FILL_BYTES);
    let fill_bytes = (leaf.len() / n_pieces + leaf::SLACK_BYTES).min(FILL_BYTES);
    let mut writer = Writer::new(fill_bytes, key);
    let mut emit =
        |key, piece: &[u8]| table.insert(key, piece).map(|_| ()).map_err(StoreError::from);
    for pair in leaf::pairs(key.0, &leaf) {
        writer.push(pair?, &mut emit)?;
    }
    writer.finish(&mut emit)
}
