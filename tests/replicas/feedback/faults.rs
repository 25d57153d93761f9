//! Labels while the store is gone, paused, full, or back without what it knew; and replicas that are killed.

use std::time::{Duration, Instant};

use super::*;

/// Labels, each told soon whatever the store is like.
fn soon(member: &Member, ids: &[String], from: usize) {
    for (row, id) in (from..).zip(ids) {
        let began = Instant::now();
        assert!(taken(member, id, truth(row)));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn labels_are_accepted_while_the_store_is_gone_and_the_first_one_stands_when_it_is_back() {
    with_each(|program| {
        for pauses in [false, true] {
            let (mut store, keys) = (Store::start(program, &[]), keys());
            let [one, mut two] = [(); 2].map(|()| replica(&store, &keys, &[]));
            fill([&one, &two], 0..60);
            agree(&[&one, &two], 60);
            let new = ids(&one, 60..90);
            if pauses {
                store.signal("STOP");
            } else {
                store.kill();
            }
            soon(&one, &new[..10], 60);
            soon(&two, &new[10..20], 70);
            // Of these each has another label, and of those the same one, at both.
            for (row, id) in (80..85).zip(&new[20..]) {
                assert!(taken(&one, id, truth(row)));
                std::thread::sleep(Duration::from_millis(20));
                assert!(taken(&two, id, other(truth(row))), "neither knows of the other");
            }
            for (row, id) in (85..90).zip(&new[25..]) {
                assert!(taken(&two, id, truth(row)) && taken(&one, id, truth(row)));
            }
            eventually("it is told", || state(&one).contains("labels are on the disk"));
            assert_eq!(one.health()["status"], "degraded");
            if pauses {
                store.signal("CONT");
            } else {
                store.again();
            }
            agree(&[&one, &two], 90);
            eventually("the later ones gave way", || conflicts(&two) == 5.0);
            assert_eq!(conflicts(&one), 0.0);
            assert_eq!(two.server.log().matches("gives way to another one").count(), 5);
            eventually("it is well again", || state(&one) == "ok" && state(&two) == "ok");
            two.killed();
            agree(&[&one, &two], 90);
            for (row, id) in (80..85).zip(&new[20..]) {
                for member in [&one, &two] {
                    assert!(!taken(member, id, truth(row)), "the first by time");
                    refused(member, id, other(truth(row)));
                }
            }
            for (row, id) in (60..80).zip(&new) {
                assert!(!taken(&one, id, truth(row)));
                refused(&two, id, other(truth(row)));
            }
            assert_eq!(conflicts(&two), 0.0, "it is on its disk by now");
        }
    });
}

#[test]
fn a_store_that_comes_back_is_given_what_it_lost_and_nothing_counts_twice() {
    with_each(|program| {
        for log in [true, false] {
            let flags = ["--appendonly", if log { "yes" } else { "no" }, "--appendfsync", "always"];
            let mut store = Store::start(program, &flags);
            let keys = keys();
            let [one, two] = [(); 2].map(|()| replica(&store, &keys, &[]));
            let all = fill([&one, &two], 0..70);
            let before = agree(&[&one, &two], 70);
            store.kill();
            store.again();
            let there = || (store.ask::<usize>(&["XLEN", STREAM]), known(&store));
            assert!(!log || there() == (70, 70), "its file has them");
            eventually("all are given back", || there() == (70, 70));
            let three = replica(&store, &keys, &[]);
            assert_eq!(agree(&[&one, &two, &three], 70), before);
            for (row, id) in all.iter().enumerate().take(10) {
                refused(&three, id, other(truth(row)));
                assert!(!taken(&three, id, truth(row)));
            }
            // Both keys, and each of them.
            for lost in [&[STREAM, KNOWN][..], &[STREAM], &[KNOWN]] {
                let _: usize = store.ask(&[&["DEL"], lost].concat());
                eventually("all are given back", || there().0 >= 70 && there().1 == 70);
            }
            assert_eq!(agree(&[&one, &two, &three], 70), before);
            let four = replica(&store, &keys, &[]);
            assert_eq!(agree(&[&one, &four], 70), before, "none counts twice");
            let tested = one.server.get("/drift").json()["labels"]["tested"].clone();
            assert_eq!(tested, 70);
        }
    });
}

#[test]
fn a_label_of_a_replica_that_is_killed_right_after_it_is_at_the_others() {
    with_each(|program| {
        let (mut store, keys) = (Store::start(program, &[]), keys());
        let [mut one, two] = [(); 2].map(|()| replica(&store, &keys, &[]));
        let all = ids(&one, 0..60);
        for (row, id) in all.iter().enumerate() {
            assert!(taken(&one, id, truth(row)));
        }
        one.server.signal("KILL");
        // A store that was slow for a moment has not all of them before the other is back.
        let there = store.ask::<usize>(&["XLEN", STREAM]);
        assert!(there >= 50, "{there}");
        agree(&[&two], there);
        if there == 60 {
            refused(&two, &all[59], other(truth(59)));
            assert!(!taken(&two, &all[59], truth(59)));
        }
        one.server.wait();
        one.again();
        agree(&[&one, &two], 60);
        // Without the store only its disk knows, which gives them when both are back.
        let more = ids(&one, 60..70);
        store.kill();
        for (row, id) in (60..70).zip(&more) {
            assert!(taken(&one, id, truth(row)));
        }
        one.server.signal("KILL");
        one.server.wait();
        store.again();
        eventually("the other is there again", || state(&two) == "ok");
        one.again();
        agree(&[&one, &two], 70);
        for (row, id) in (60..70).zip(&more) {
            refused(&two, id, other(truth(row)));
        }
        assert_eq!((conflicts(&one), conflicts(&two)), (0.0, 0.0));
    });
}

#[test]
fn a_store_that_takes_no_more_is_given_labels_later() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let [one, two] = [(); 2].map(|()| replica(&store, &keys, &[]));
        fill([&one, &two], 0..60);
        agree(&[&one, &two], 60);
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "1000"]);
        let new = ids(&one, 60..80);
        soon(&one, &new, 60);
        eventually("it is told", || state(&one).contains("does not take labels"));
        assert_eq!(one.health()["status"], "degraded");
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        agree(&[&one, &two], 80);
        eventually("it is well again", || one.health()["status"] == "healthy");
    });
}
