//! The store's cache under thousands of orders of steps, chosen by shuttle: the same source file,
//! with its locks.
//!
//! A failure prints the schedule; `shuttle::replay` runs it again.

mod checked;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use self::checked::DEAF;
use self::checked::residency::{Kept, Miss, Residency, Room, Unmoved, Weigh};

/// Bytes of every value.
const BYTES: usize = 10;
const KEYS: usize = 5;

/// What happens beside the cache, to be checked against what it promises. Its counts are atomic and
/// no steps of their own.
#[derive(Default)]
struct World {
    limit: usize,
    leased: AtomicUsize,
    /// By key: loads that run, and copies in memory.
    loading: [AtomicUsize; KEYS],
    copies: [AtomicUsize; KEYS],
    loads: AtomicUsize,
}

struct Paid(Arc<World>);

impl Drop for Paid {
    fn drop(&mut self) {
        self.0.leased.fetch_sub(BYTES, Ordering::SeqCst);
    }
}

struct Memory(Arc<World>);

impl Room for Memory {
    type Lease = Paid;

    fn take(&self, bytes: usize) -> Option<Paid> {
        thread::yield_now();
        let world = &self.0;
        let fits = |leased: usize| Some(leased + bytes).filter(|sum| *sum <= world.limit);
        world.leased.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(Paid(Arc::clone(world)))
    }
}

/// A value in memory.
struct Value {
    key: usize,
    world: Arc<World>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.world.copies[self.key].fetch_sub(1, Ordering::SeqCst);
    }
}

impl Weigh for Value {
    fn bytes(&self) -> usize {
        BYTES
    }
}

/// Reads a value; `None` stands for a file that cannot be read.
fn load(world: &Arc<World>, key: usize, whole: bool) -> Result<Value, ()> {
    assert_eq!(world.loading[key].fetch_add(1, Ordering::SeqCst), 0, "two loads of {key} at once");
    world.loads.fetch_add(1, Ordering::SeqCst);
    thread::yield_now();
    world.loading[key].fetch_sub(1, Ordering::SeqCst);
    if whole { Ok(read(world, key)) } else { Err(()) }
}

/// A value that was read and is paid for.
fn read(world: &Arc<World>, key: usize) -> Value {
    world.copies[key].fetch_add(1, Ordering::SeqCst);
    let paid = world.leased.load(Ordering::SeqCst);
    let all: usize = world.copies.iter().map(|copies| copies.load(Ordering::SeqCst)).sum();
    assert!(all * BYTES <= paid && paid <= world.limit, "{all} values, {paid} bytes paid of {}", world.limit);
    Value { key, world: Arc::clone(world) }
}

type Cache = Residency<usize, (), Value, Memory>;

/// A cache with room for `room` values, of which `idle` may be idle.
fn cache(room: usize, idle: usize) -> (Arc<Cache>, Arc<World>) {
    let world = Arc::new(World { limit: room * BYTES, ..World::default() });
    let cache = Residency::new(Memory(Arc::clone(&world)), idle * BYTES);
    (0..KEYS).for_each(|key| cache.insert(key, (), BYTES, &[]).unwrap());
    (Arc::new(cache), world)
}

/// When all threads have ended: everything is idle, within its bound, and can be given back to the
/// last byte.
fn settle(cache: &Cache, world: &World, idle: usize) {
    cache.release();
    let totals = cache.totals();
    assert!(totals.resident_bytes <= idle * BYTES, "{totals:?}");
    assert_eq!(totals.resident_bytes, world.leased.load(Ordering::SeqCst), "what is leased is resident: {totals:?}");
    while cache.evict_one() {}
    assert_eq!((cache.totals().resident_bytes, cache.totals().resident), (0, 0));
    assert_eq!(world.leased.load(Ordering::SeqCst), 0, "a lease was lost");
    assert!(world.copies.iter().all(|copies| copies.load(Ordering::SeqCst) == 0));
}

/// Runs `what` under random orders and under such as find faults that need few, but certain,
/// switches.
fn explore(iterations: usize, what: fn()) {
    Runner::new(RandomScheduler::new_from_seed(7, iterations), Config::default()).run(what);
    Runner::new(PctScheduler::new_from_seed(7, 3, iterations), Config::default()).run(what);
}

#[test]
fn what_is_in_use_is_never_evicted_nor_loaded_twice_and_room_for_all_who_hold_suffices() {
    explore(2000, || {
        // Each of three threads holds one at a time: room for three is enough, though idle ones
        // fill it meanwhile.
        let (cache, world) = cache(3, 3);
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (cache, world) = (Arc::clone(&cache), Arc::clone(&world));
                thread::spawn(move || {
                    for turn in 0..3 {
                        let key = (n * turn + turn) % KEYS;
                        let held = cache.get(key, |()| load(&world, key, true)).expect("there is room");
                        assert_eq!(held.key, key);
                        thread::yield_now();
                        assert_eq!(world.copies[key].load(Ordering::SeqCst), 1, "{key} is in use");
                        assert!(cache.facts(key).unwrap().resident, "{key} was evicted in use");
                        if turn == 1 {
                            cache.evict_one();
                        }
                        drop(held);
                        cache.release();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle(&cache, &world, 3);
    });
}

#[test]
fn who_waits_for_a_load_is_always_woken_even_if_it_fails() {
    explore(2000, || {
        let (cache, world) = cache(1, 1);
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (cache, world) = (Arc::clone(&cache), Arc::clone(&world));
                // The first one's file is damaged; the others find that out and read for
                // themselves.
                thread::spawn(move || cache.get(0, |()| load(&world, 0, n > 0)).map(|value| value.key))
            })
            .collect();
        let got: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(got[0] == Ok(0) || got[0] == Err(Miss::Load(())));
        assert_eq!(got[1..], [Ok(0), Ok(0)]);
        let failed = usize::from(got[0].is_err());
        assert_eq!(world.loads.load(Ordering::SeqCst), 1 + failed, "one load serves all who wait");
        settle(&cache, &world, 1);
    });
}

#[test]
fn what_is_put_in_while_others_read_it_is_paid_until_its_holder_ends() {
    explore(2000, || {
        let (cache, world) = cache(3, 1);
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (cache, world) = (Arc::clone(&cache), Arc::clone(&world));
                thread::spawn(move || {
                    let held = if n < 2 {
                        let lease = Memory(Arc::clone(&world)).take(BYTES).expect("there is room");
                        let value = read(&world, 0);
                        thread::yield_now();
                        cache.put(0, value, lease)
                    } else {
                        cache.get(0, |()| load(&world, 0, true)).expect("there is room")
                    };
                    thread::yield_now();
                    let copies = world.copies[held.key].load(Ordering::SeqCst);
                    let (paid, counted) = (world.leased.load(Ordering::SeqCst), cache.totals().resident_bytes);
                    assert!(copies >= 1 && copies * BYTES <= paid, "{copies} copies, {paid} bytes paid");
                    assert!(counted >= BYTES, "what is in use is counted");
                    drop(held);
                    cache.release();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // A second one when the first was evicted for one that was leaving.
        assert!((1..=2).contains(&cache.totals().loads), "{:?}", cache.totals());
        settle(&cache, &world, 1);
    });
}

#[test]
fn forgetting_taking_in_again_and_evicting_under_traffic_loses_nothing() {
    explore(2000, || {
        let (cache, world) = cache(2, 1);
        let asks = |keys: [usize; 3]| {
            let (cache, world) = (Arc::clone(&cache), Arc::clone(&world));
            thread::spawn(move || {
                for key in keys {
                    match cache.get(key, |()| load(&world, key, true)) {
                        Ok(held) => {
                            assert_eq!(held.key, key);
                            thread::yield_now();
                            assert!(world.copies[key].load(Ordering::SeqCst) >= 1);
                        }
                        // Forgotten copies that are in use take room too.
                        Err(miss) => assert!(matches!(miss, Miss::Unknown | Miss::NoRoom(BYTES)), "{miss:?}"),
                    }
                    cache.release();
                }
            })
        };
        let mut threads = vec![asks([0, 1, 0]), asks([0, 2, 1])];
        let own = Arc::clone(&cache);
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(own.remove(0), Ok(()));
                assert_eq!(own.remove(0), Err(Kept::Unknown));
                own.evict_one();
                own.insert(0, (), BYTES, &[]).unwrap();
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle(&cache, &world, 1);
    });
}

#[test]
fn a_name_moves_by_whole_generations_and_what_it_points_to_is_registered() {
    explore(2000, || {
        let (cache, world) = cache(3, 3);
        let moves = |key: usize| {
            let cache = Arc::clone(&cache);
            thread::spawn(move || {
                // Compare and set: of two who saw the same generation, one moves it.
                let seen = cache.named("owls").map_or(0, |(generation, ..)| generation);
                cache.point("owls", key, Some(seen))
            })
        };
        let (one, two) = (moves(0), moves(1));
        let (own, seen) = (Arc::clone(&cache), Arc::clone(&world));
        let reads = thread::spawn(move || {
            let Some((generation, key, _)) = own.named("owls") else { return 0 };
            // Key 2 is never unloaded, 1 may be: then it is an error and nothing else answers.
            match own.get(key, |()| load(&seen, key, true)) {
                Ok(held) => assert_eq!(held.key, key),
                Err(miss) => assert_eq!((miss, key), (Miss::Unknown, 1)),
            }
            generation
        });
        let own = Arc::clone(&cache);
        let forgets = thread::spawn(move || own.remove(1).unwrap());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        let (read, ()) = (reads.join().unwrap(), forgets.join().unwrap());
        match cache.named("owls") {
            // Both moved it one after the other, or one of them came too late.
            Some((generation, key, _)) => {
                assert!(key == 0 && read <= generation, "{generation} {key}");
                assert_eq!(one, Ok(generation));
            }
            None => assert!(two.is_ok() || two == Err(Unmoved::Unknown)),
        }
        settle(&cache, &world, 3);
    });
}

#[test]
fn a_member_stays_while_what_is_made_of_it_does() {
    explore(500, || {
        let (cache, world) = cache(3, 3);
        let own = Arc::clone(&cache);
        let makes = thread::spawn(move || {
            let made = own.insert(KEYS, (), BYTES, &[0, 1]);
            if made.is_ok() {
                assert!(own.facts(0).is_some() && own.facts(1).is_some());
                assert_eq!(own.remove(0), Err(Kept::Needed(1)));
                own.remove(KEYS).unwrap();
            }
            made
        });
        let forgotten = cache.remove(1);
        let made = makes.join().unwrap();
        assert!(matches!((made, &forgotten), (Ok(()), Ok(()) | Err(Kept::Needed(1))) | (Err(1), Ok(()))));
        assert_eq!(cache.remove(0), Ok(()));
        assert_eq!(cache.totals().registered, KEYS - 2 + usize::from(forgotten.is_err()));
        settle(&cache, &world, 3);
    });
}

/// The explorer finds a planted fault: without it, the tests above would prove little.
#[test]
#[should_panic(expected = "deadlock")]
fn a_waiter_that_is_never_told_is_found() {
    // This thread runs all of shuttle's.
    DEAF.set(true);
    explore(2000, || {
        let world = Arc::new(World { limit: BYTES, ..World::default() });
        let cache = Arc::new(Cache::new(Memory(Arc::clone(&world)), BYTES));
        cache.insert(0, (), BYTES, &[]).unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (cache, world) = (Arc::clone(&cache), Arc::clone(&world));
                thread::spawn(move || cache.get(0, |()| load(&world, 0, true)).is_ok())
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}
