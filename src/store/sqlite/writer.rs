//! The one thread that writes: gathers what concurrent callers want, commits it once, then answers them all.
//!
//! Durability costs one flush for a whole group, and none for a group that holds only what may be lost to a power cut
//! ([`Lasting::Process`]): the next flush carries it along, for the log is written in order. An operation that fails takes nobody with it: the group is
//! rolled back and each operation gets a transaction of its own. That is rare, and keeps the usual way free of
//! savepoints.

mod operation;

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
use operation::{Job, Operation};

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

type BoxedLook = Box<dyn FnOnce(&mut Worker) + Send>;

enum Message {
    Run(Box<dyn Job>),
    Look(BoxedLook),
    Close(oneshot::Sender<()>),
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
            self.look_together(looks);
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

    /// After the commit: what it wrote is found at once, by a few looks instead of by many. All in one transaction,
    /// for each costs locks of the file, and a statement without one has one of its own.
    fn look_together(&mut self, looks: Vec<BoxedLook>) {
        if looks.is_empty() {
            return;
        }
        if let Some(connection) = &self.connection {
            let _ = execute(connection, "BEGIN"); // what is wrong with the connection is the looks' to say
        }
        for look in looks {
            look(self);
        }
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_autocommit())
            && execute(connection, "COMMIT").is_err()
        {
            self.connection = None; // the next group opens it again
        }
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
mod tests;
