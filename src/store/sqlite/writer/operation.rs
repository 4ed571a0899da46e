//! What waits for the writer: one caller's work, without its type, until its answer is sent.

use tokio::sync::oneshot;

use super::{Lasting, Tx};
use crate::store::StoreError;
use crate::store::sqlite::failure::Failure;

/// An operation without its type.
pub(super) trait Job: Send {
    /// Inside the transaction.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure>;
    /// What it must survive.
    fn lasting(&self) -> Lasting;
    /// After the commit, or its failure.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// What a caller wants done, and where its answer goes.
pub(super) struct Operation<T, F> {
    pub(super) work: F,
    pub(super) lasting: Lasting,
    /// What the work gave, until it is committed.
    pub(super) done: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
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
