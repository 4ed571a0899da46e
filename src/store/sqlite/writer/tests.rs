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
fn a_look_that_fails_takes_no_other_with_it_and_leaves_no_transaction_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(&folder);
    assert_eq!(run(&mut worker, [insert(1, None)]), [Some(1)]);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let look = |sql: &'static str| -> BoxedLook {
        let seen = Arc::clone(&seen);
        Box::new(move |worker: &mut Worker| {
            let found = worker.look(&mut |look: &mut Look<'_>| {
                let rows = look.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
                Ok((rows?, look.connection.is_autocommit()))
            });
            seen.lock().unwrap().push(found.ok());
        })
    };
    let count = "SELECT count(*) FROM pairs";
    worker.look_together(vec![look(count), look(count)]);
    assert_eq!(*seen.lock().unwrap(), [Some((1, false)); 2], "both in one transaction");
    worker.look_together(vec![look("SELECT 1 FROM nothing_of_that_name"), look(count)]);
    assert_eq!(seen.lock().unwrap()[2..], [None, Some((1, true))]);
    assert_eq!(run(&mut worker, [insert(2, None)]), [Some(2)]);
    worker.look_together(vec![look(count)]);
    assert_eq!(seen.lock().unwrap()[4..], [Some((2, false))]);
    assert_eq!(run(&mut worker, [insert(3, None)]), [Some(3)]);
}

#[test]
fn ids_grow_when_the_clock_steps_back() {
    let folder = tempfile::tempdir().unwrap();
    let Worker { connection, mut leases, mut tally, ids, .. } = worker(&folder);
    let tx = Tx { connection: &connection.unwrap(), leases: &mut leases, tally: &mut tally, ids: &ids };
    let ids = [5000, 5000, 4000, 6000].map(|millis| tx.new_id(crate::time::from_millis(millis)));
    assert!(ids.is_sorted(), "{ids:?}");
}
