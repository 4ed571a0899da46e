//! The one thread that writes: gathers what concurrent callers want, commits it once, then answers them all.
//!
//! Durability costs one flush for a whole group, and none for a group that holds only what may be lost to a power cut
//! ([`Lasting::Process`]): the next flush carries it along, for the log is written in order. An operation that fails takes nobody with it: the group is
//! rolled back and each operation gets a transaction of its own. That is rare, and keeps the usual way free of
//! savepoints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Params};
use tokio::sync::{mpsc, oneshot};
use uuid::{ContextV7, Uuid};

use super::connection;
use super::failure::Failure;
use super::leases::Leases;
use super::tally::Tally;
use crate::store::StoreError;
use crate::telemetry::metrics;
use crate::time::Timestamp;

/// At most so many operations share a transaction: bounds how long the first one waits for its answer.
const GROUP: usize = 256;
/// A group as large as this means that many want something: the next one gathers for a moment before it begins, so
/// that fewer transactions write the same pages again.
const BUSY: usize = 4;
const GATHER: Duration = Duration::from_micros(300);
/// At most so many operations wait; further callers wait to be let in.
const QUEUE: usize = 512;

/// What an operation must survive once it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// A crash of the process, not of the machine: what would only be done again, like a claim or a poll.
    Process,
    /// A power cut.
    Power,
}

/// What an operation works with. The transaction is open; committing is not its business.
pub(super) struct Tx<'a> {
    /// The connection.
    pub(super) connection: &'a Connection,
    /// Who holds which row.
    pub(super) leases: &'a mut Leases,
    /// Where it says what it adds and takes away.
    pub(super) tally: &'a mut Tally,
    ids: &'a ContextV7,
}

impl Tx<'_> {
    /// A fresh id: later ones are greater, also within a millisecond and when the clock steps back.
    pub(super) fn new_id(&self, at: Timestamp) -> Uuid {
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        let nanos = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(self.ids, seconds, nanos))
    }
}

/// What a look works with: nothing is written, and what was committed before is seen.
pub(super) struct Look<'a> {
    /// The connection.
    pub(super) connection: &'a Connection,
    /// Who holds which row.
    pub(super) leases: &'a mut Leases,
}

impl Look<'_> {
    /// The first `limit` ids that `sql` finds and nobody holds at `now`.
    pub(super) fn free(
        &self,
        sql: &str,
        values: impl Params,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Uuid>, Failure> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids = statement.query_map(values, |row| row.get(0))?;
        let free = ids.filter(|id| id.as_ref().map_or(true, |id| !self.leases.is_taken(*id, now)));
        Ok(free.take(limit).collect::<Result<_, _>>()?)
    }

    /// When a row of `sql`, which finds ids and due times of `name` in order, is due or its lease ends.
    pub(super) fn next_due(&self, sql: &str, name: &str) -> Result<Option<Timestamp>, Failure> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(self.leases.next_due(rows)?)
    }
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    path: Arc<Path>,
}

impl Writer {
    /// Opens the file on a thread of its own and waits until it is ready.
    pub(super) async fn start(path: Arc<Path>) -> Result<Self, StoreError> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        let shown = path.clone();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || match connection::open_writer(&path) {
                Ok(connection) => {
                    let _ = ready.send(Ok(()));
                    Worker::new(path, connection).run(messages);
                }
                Err(failure) => drop(ready.send(Err(failure.explain(&path)))),
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the store: {error}")))?;
        opened.await.unwrap_or_else(|_| Err(Failure::Panicked.explain(&shown)))?;
        Ok(Self { queue, path: shown })
    }

    /// Runs `work` in a transaction and answers when that is durable.
    ///
    /// `work` may be run again after its transaction was rolled back, so it must not use up what it holds.
    pub(super) async fn run<T, F>(&self, lasting: Lasting, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let operation = Operation { work, lasting, done: None, reply };
        self.queue.send(Message::Run(Box::new(operation))).await.map_err(|_| self.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Runs `work`, which writes nothing, between two transactions: it sees all that was answered before.
    pub(super) async fn look<T, F>(&self, mut work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Look<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let look = move |worker: &mut Worker| {
            let _ = reply.send(worker.look(&mut work)); // a caller that left does not want it
        };
        self.queue.send(Message::Look(Box::new(look))).await.map_err(|_| self.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Lets the queue run empty, moves everything into the file and ends the thread.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await; // an error means that the thread has ended, which is what was asked for
        }
    }

    fn closed(&self) -> StoreError {
        StoreError::Unavailable(format!("{}: the store is closed", self.path.display()))
    }
}

enum Message {
    Run(Box<dyn Job>),
    Look(Box<dyn FnOnce(&mut Worker) + Send>),
    Close(oneshot::Sender<()>),
}

/// An operation without its type.
trait Job: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure>;
    fn lasting(&self) -> Lasting;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Operation<T, F> {
    work: F,
    lasting: Lasting,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Operation<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        self.done = Some((self.work)(tx)?);
        Ok(())
    }

    fn lasting(&self) -> Lasting {
        self.lasting
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.done) {
            (Ok(()), Some(done)) => Ok(done),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(StoreError::Unavailable("an operation was not run".to_owned())),
        };
        let _ = self.reply.send(answer); // a caller that left does not want it
    }
}

/// The thread's end.
struct Worker {
    path: Arc<Path>,
    connection: Option<Connection>,
    /// What a commit on the connection lasts for now.
    lasting: Lasting,
    leases: Leases,
    tally: Tally,
    ids: ContextV7,
}

/// Where a transaction broke.
enum Broken {
    /// In an operation: the others of its group may still succeed.
    Operation(Failure),
    /// While it began or committed: nothing of the group was kept.
    Transaction(Failure),
}

impl Worker {
    fn new(path: Arc<Path>, connection: Connection) -> Self {
        Self {
            path,
            ids: ids_after(&connection),
            connection: Some(connection),
            lasting: Lasting::Power,
            leases: Leases::default(),
            tally: Tally::default(),
        }
    }

    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut gathered = Vec::with_capacity(GROUP);
        let mut closing = Vec::new();
        let mut last = 0;
        while messages.blocking_recv_many(&mut gathered, GROUP) > 0 {
            if last >= BUSY && gathered.len() < last {
                std::thread::sleep(GATHER);
                gathered.extend(std::iter::from_fn(|| messages.try_recv().ok()).take(GROUP));
            }
            last = gathered.len();
            let (mut group, mut looks) = (Vec::with_capacity(gathered.len()), Vec::new());
            for message in gathered.drain(..) {
                match message {
                    Message::Run(job) => group.push(job),
                    Message::Look(look) => looks.push(look),
                    Message::Close(reply) => {
                        messages.close(); // what is queued still comes
                        closing.push(reply);
                    }
                }
            }
            self.work(group);
            // After the commit: what it wrote is found at once, by a few looks instead of by many.
            for look in looks {
                look(&mut self);
            }
        }
        self.finish();
        for reply in closing {
            let _ = reply.send(());
        }
    }

    /// One group: together if all goes well, else one by one.
    fn work(&mut self, mut group: Vec<Box<dyn Job>>) {
        if group.is_empty() {
            return;
        }
        let result = self.transact(&mut group);
        metrics::store_commit(match (&result, self.lasting) {
            (Err(_), _) => "failed",
            (Ok(()), Lasting::Power) => "flushed",
            (Ok(()), Lasting::Process) => "unflushed",
        });
        match result {
            Ok(()) => answer_all(group, &Ok(())),
            Err(Broken::Operation(_)) if group.len() > 1 => {
                for job in group {
                    self.work(vec![job]);
                }
            }
            Err(Broken::Operation(failure) | Broken::Transaction(failure)) => {
                answer_all(group, &Err(failure.explain(&self.path)));
            }
        }
    }

    fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Broken> {
        let result = self.try_transact(group);
        if let Err(Broken::Operation(failure) | Broken::Transaction(failure)) = &result {
            self.roll_back(failure);
        }
        result
    }

    /// One look, which may find the connection broken like any operation.
    fn look<T>(&mut self, work: &mut impl FnMut(&mut Look<'_>) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.try_look(work).map_err(|failure| {
            self.roll_back(&failure);
            failure.explain(&self.path)
        })
    }

    fn try_look<T>(&mut self, work: &mut impl FnMut(&mut Look<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        self.connect()?;
        let Some(connection) = &self.connection else { return Err(Failure::Panicked) };
        let mut look = Look { connection, leases: &mut self.leases };
        catch_unwind(AssertUnwindSafe(|| work(&mut look))).unwrap_or(Err(Failure::Panicked))
    }

    /// Opens the file again if the connection is broken.
    fn connect(&mut self) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(connection::reopen_writer(&self.path)?);
            self.lasting = Lasting::Power;
        }
        Ok(())
    }

    fn try_transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Broken> {
        self.connect().map_err(Broken::Transaction)?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let power = group.iter().any(|job| job.lasting() == Lasting::Power);
        let wanted = if power { Lasting::Power } else { Lasting::Process };
        if wanted != self.lasting {
            connection::set_flush(connection, power).map_err(Broken::Transaction)?;
            self.lasting = wanted;
        }
        execute(connection, "BEGIN IMMEDIATE").map_err(Broken::Transaction)?;
        let mut tx = Tx { connection, leases: &mut self.leases, tally: &mut self.tally, ids: &self.ids };
        let ran = catch_unwind(AssertUnwindSafe(|| group.iter_mut().try_for_each(|job| job.run(&mut tx))));
        ran.unwrap_or(Err(Failure::Panicked)).map_err(Broken::Operation)?;
        self.tally.write(connection).map_err(Broken::Transaction)?;
        execute(connection, "COMMIT").map_err(Broken::Transaction)?;
        self.leases.committed();
        Ok(())
    }

    /// Leaves nothing behind; a connection that may be broken is opened again by the next group.
    fn roll_back(&mut self, failure: &Failure) {
        self.tally.clear();
        self.leases.rolled_back();
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && let Err(error) = execute(connection, "ROLLBACK")
        {
            tracing::debug!(error = ?error, "a transaction could not be rolled back; opening the store again");
            self.connection = None;
        }
        if failure.wants_new_connection() {
            self.connection = None;
        }
    }

    fn finish(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let Err(failure) = connection::checkpoint(&connection) {
            // Nothing is lost: the next start reads the log.
            tracing::debug!(error = ?failure, "the write-ahead log was not moved into the store");
        }
    }
}

/// Ids go on above those that are there, also where the clock was set back while nobody ran: the newest scan of a key
/// is found by its id.
fn ids_after(connection: &Connection) -> ContextV7 {
    let ids = ContextV7::new();
    let newest = connection.query_row("SELECT max(id) FROM scans", [], |row| row.get::<_, Option<Uuid>>(0));
    // An error shows at the first thing that is written; a table without rows has no newest.
    if let Some((seconds, nanos)) = newest.ok().flatten().and_then(|id| id.get_timestamp()).map(|at| at.to_unix()) {
        let millis = seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000) + 1;
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        // Made and thrown away: the next one is greater, whatever the clock says.
        let _ = Uuid::new_v7(uuid::Timestamp::from_unix(&ids, millis / 1000, nanos));
    }
    ids
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn answer_all(group: Vec<Box<dyn Job>>, committed: &Result<(), StoreError>) {
    for job in group {
        job.answer(committed.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker on a file whose table `pairs` is checked when a transaction commits.
    fn worker(folder: &tempfile::TempDir) -> Worker {
        let path: Arc<Path> = folder.path().join("scanbell.db").into();
        let connection = connection::open_writer(&path).unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE pairs (
                     n INTEGER PRIMARY KEY,
                     other INTEGER REFERENCES pairs (n) DEFERRABLE INITIALLY DEFERRED)",
            )
            .unwrap();
        Worker::new(path, connection)
    }

    type Answer = oneshot::Receiver<Result<i64, StoreError>>;

    /// Inserts a row and counts a scan; answers its number.
    fn insert(n: i64, other: Option<i64>) -> (Box<dyn Job>, Answer) {
        job(move |tx| {
            tx.connection.prepare_cached("INSERT INTO pairs VALUES (?, ?)")?.execute(rusqlite::params![n, other])?;
            tx.tally.active("sieve", 1);
            Ok(n)
        })
    }

    fn job(work: impl FnMut(&mut Tx<'_>) -> Result<i64, Failure> + Send + 'static) -> (Box<dyn Job>, Answer) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Operation { work, lasting: Lasting::Power, done: None, reply }), answer)
    }

    fn run(worker: &mut Worker, jobs: impl IntoIterator<Item = (Box<dyn Job>, Answer)>) -> Vec<Option<i64>> {
        let (group, answers): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        worker.work(group);
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap().ok()).collect()
    }

    fn stored(worker: &Worker) -> (Vec<i64>, Option<i64>) {
        let reader = connection::open_reader(&worker.path).unwrap();
        let mut rows = reader.prepare("SELECT n FROM pairs ORDER BY n").unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (rows, reader.query_row("SELECT count FROM counters", [], |row| row.get(0)).ok())
    }

    #[test]
    fn an_operation_that_fails_takes_nobody_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(&folder);
        let refused = job(|_| Err(Failure::Stored("on purpose".to_owned())));
        let panicked = job(|tx| {
            tx.tally.active("sieve", 100);
            panic!("on purpose")
        });
        let jobs = [insert(1, None), insert(1, None), refused, insert(2, None), panicked, insert(3, Some(1))];
        assert_eq!(run(&mut worker, jobs), [Some(1), None, None, Some(2), None, Some(3)]);
        assert_eq!(stored(&worker), (vec![1, 2, 3], Some(3)), "nothing twice, nothing of the failed ones");
    }

    #[test]
    fn a_commit_that_fails_fails_its_whole_group_and_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(&folder);
        assert_eq!(run(&mut worker, [insert(1, None), insert(2, Some(99))]), [None, None]);
        assert_eq!(stored(&worker), (vec![], None));
        assert_eq!(run(&mut worker, [insert(1, None), insert(2, Some(1))]), [Some(1), Some(2)]);
        assert_eq!(stored(&worker), (vec![1, 2], Some(2)));
    }

    #[test]
    fn a_connection_that_broke_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(&folder);
        let broken = job(|tx| {
            tx.connection.execute_batch("SELECT * FROM nothing_of_that_name")?;
            Ok(0)
        });
        assert_eq!(run(&mut worker, [broken]), [None]);
        assert!(worker.connection.is_none());
        assert_eq!(run(&mut worker, [insert(1, None)]), [Some(1)]);
    }

    #[test]
    fn ids_grow_when_the_clock_steps_back() {
        let folder = tempfile::tempdir().unwrap();
        let Worker { connection, mut leases, mut tally, ids, .. } = worker(&folder);
        let tx = Tx { connection: &connection.unwrap(), leases: &mut leases, tally: &mut tally, ids: &ids };
        let ids = [5000, 5000, 4000, 6000].map(|millis| tx.new_id(crate::time::from_millis(millis)));
        assert!(ids.is_sorted(), "{ids:?}");
    }
}
