//! Limits of clients over all replicas.

use super::Member;
use super::server::eventually;
use super::store::{Store, with_each};

/// What ten requests, turn by turn, were told to have left, and what each replica said to one more.
fn asked(one: &Member, other: &Member) -> (Vec<String>, Vec<u16>) {
    let left = |request: usize| {
        let member = if request.is_multiple_of(3) { one } else { other };
        let answer = member.server.predict("my router");
        assert_eq!(answer.status, 200, "{request}");
        answer.header("ratelimit").unwrap().split(';').nth(1).unwrap().to_owned()
    };
    let all = (0..10).map(left).collect();
    (all, [one, other].map(|member| member.server.predict("my router").status).into())
}

#[test]
fn the_limit_of_a_client_counts_over_all_replicas_and_alone_without_redis() {
    with_each(|program| {
        for attempt in 0.. {
            let mut store = Store::start(program, &[]);
            let flags = ["--rate-limit", "10/h"];
            let [one, other] = [(); 2].map(|()| Member::replica(&store, &flags));
            let (left, more) = asked(&one, &other);
            // A machine that is too busy to answer in time counts alone.
            if [&one, &other].iter().any(|member| member.server.log().contains("slow")) {
                assert!(attempt < 10, "this machine is never quiet");
                continue;
            }
            let expected: Vec<String> = (0..10).rev().map(|left| format!("r={left}")).collect();
            assert_eq!((left, more), (expected, vec![429, 429]));
            let refused = one.server.predict("my router");
            assert_eq!(refused.problem(), "rate-limited");
            let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((300..=360).contains(&wait), "{wait}");
            store.kill();
            // Each counts alone from here on.
            for member in [&one, &other] {
                let given = || member.server.predict("my router").status == 200;
                assert_eq!((0..20).filter(|_| given()).count(), 10);
            }
            store.again();
            eventually("it is asked again", || {
                one.health()["checks"]["cache"] == "ok" && one.server.predict("x").status == 200
            });
            break;
        }
    });
}
