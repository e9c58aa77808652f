use super::*;

fn key(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap();
    Key::new(namespace, name)
}

async fn take(queue: &Queue) -> String {
    queue.next().await.key.to_string()
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns_however_many_objects_one_of_them_has() {
    let queue = Queue::default();
    for name in ["a/1", "a/2", "a/3", "b/1", "c/1"] {
        queue.add(&key(name), Urgency::Fresh, Trigger::Spec);
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(take(&queue).await);
    }
    assert_eq!(order, ["a/1", "b/1", "c/1", "a/2", "a/3"]);
}

#[tokio::test(start_paused = true)]
async fn what_waited_and_fresh_changes_go_first_and_an_object_moves_up_with_its_urgency() {
    let queue = Queue::default();
    queue.add(&key("a/visit"), Urgency::Visit, Trigger::Interval);
    queue.add(&key("a/moved"), Urgency::Moved, Trigger::Source);
    queue.add(&key("a/fresh"), Urgency::Fresh, Trigger::Spec);
    queue.add(&key("a/visit2"), Urgency::Visit, Trigger::Interval);
    queue.add(&key("a/visit2"), Urgency::Fresh, Trigger::Requested);
    queue.add(&key("a/awaited"), Urgency::Awaited, Trigger::Wake);
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(take(&queue).await);
    }
    assert_eq!(order, ["a/awaited", "a/fresh", "a/visit2", "a/moved", "a/visit"]);
    assert_eq!(queue.load().depth, 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_fresh_changes_does_not_starve_a_visit() {
    let queue = Queue::default();
    queue.add(&key("z/visit"), Urgency::Visit, Trigger::Interval);
    for number in 0..100 {
        queue.add(&key(&format!("a/{number}")), Urgency::Fresh, Trigger::Spec);
    }
    let mut position = 0;
    while take(&queue).await != "z/visit" {
        position += 1;
    }
    assert!(position < 2 * MERCY, "{position}");
}

#[tokio::test(start_paused = true)]
async fn few_others_run_beside_a_fresh_change_and_all_of_them_after_it() {
    let queue = Queue::default();
    for number in 0..2 * BESIDE {
        queue.add(&key(&format!("a/{number}")), Urgency::Moved, Trigger::Source);
    }
    queue.add(&key("a/fresh"), Urgency::Fresh, Trigger::Source);
    assert_eq!(take(&queue).await, "a/fresh");
    for _ in 0..BESIDE {
        assert_ne!(take(&queue).await, "a/fresh");
    }
    let begun = Instant::now();
    assert!(
        tokio::time::timeout(HEAD_START / 2, queue.next()).await.is_err(),
        "the fresh change is on its way"
    );
    take(&queue).await;
    assert_eq!(begun.elapsed(), HEAD_START, "it takes its time, and leaves the others theirs");
    queue.add(&key("a/fresh2"), Urgency::Fresh, Trigger::Source);
    assert_eq!(take(&queue).await, "a/fresh2");
    for name in ["a/fresh", "a/fresh2"] {
        queue.finish(&key(name), None);
    }
    for _ in 1..BESIDE {
        take(&queue).await;
    }
    assert_eq!(queue.load().depth, 0);
}

#[tokio::test(start_paused = true)]
async fn an_object_never_has_two_turns_at_once() {
    let queue = Queue::default();
    queue.add(&key("a/1"), Urgency::Fresh, Trigger::Spec);
    queue.add(&key("a/1"), Urgency::Fresh, Trigger::Source);
    let first = queue.next().await;
    assert_eq!(first.trigger, Trigger::Spec);
    queue.add(&key("a/1"), Urgency::Visit, Trigger::Wake);
    assert!(!first.cancel.is_cancelled(), "a wake is no news");
    queue.add(&key("a/1"), Urgency::Fresh, Trigger::Requested);
    assert!(first.cancel.is_cancelled(), "a newer trigger ends the turn");
    tokio::select! {
        biased;
        work = queue.next() => panic!("{work:?}"),
        () = tokio::time::sleep(Duration::from_secs(3600)) => {}
    }
    queue.finish(&key("a/1"), Some((Duration::from_secs(60), Trigger::Interval)));
    assert_eq!(queue.next().await.trigger, Trigger::Requested, "the turn asked for meanwhile comes first");
    queue.finish(&key("a/1"), None);
    assert!(lock(&queue.state).slots.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delay_ends_with_its_time_or_with_news() {
    let queue = Queue::default();
    let start = Instant::now();
    queue.add_later(&key("a/1"), Duration::from_secs(60), Trigger::Interval);
    queue.add_later(&key("a/2"), Duration::from_secs(30), Trigger::Retry);
    assert_eq!(take(&queue).await, "a/2");
    assert_eq!(start.elapsed().as_secs(), 30);
    queue.add(&key("a/1"), Urgency::Fresh, Trigger::Source);
    let work = queue.next().await;
    assert_eq!((work.key.to_string().as_str(), work.trigger), ("a/1", Trigger::Source));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(lock(&queue.state).due.is_empty(), "the delay is gone with it");
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_not_run() {
    let queue = Queue::default();
    queue.add(&key("a/queued"), Urgency::Fresh, Trigger::Spec);
    queue.forget(&key("a/queued"));
    queue.add_later(&key("a/later"), Duration::from_secs(1), Trigger::Retry);
    queue.forget(&key("a/later"));
    queue.add(&key("a/running"), Urgency::Fresh, Trigger::Spec);
    let work = queue.next().await;
    queue.add(&key("a/running"), Urgency::Fresh, Trigger::Spec);
    queue.forget(&key("a/running"));
    assert!(work.cancel.is_cancelled());
    queue.finish(&key("a/running"), None);
    let state = lock(&queue.state);
    assert!(state.slots.is_empty() && state.due.is_empty() && state.depth == 0);
}
