//! Users, what lets them in, and the audit log.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use towpath_store::{
    Access, DagFilter, EventColumn, EventFilter, Grant, Like, NewEvent, NewToken, Role, RunFilter, Scope, Store,
};

use crate::harness::{both, manual, sync, time, wide};

async fn user(store: &Store, name: &str, role: Role) {
    assert!(store.create_user(name, role, Some("$argon2id$made-up"), time(0)).await.expect("a user is made"));
}

fn grant(scope: Scope, access: Access) -> Grant {
    Grant { scope, access }
}

async fn users_are_kept(store: Store) {
    user(&store, "ada", Role::Admin).await;
    assert!(!store.create_user("ada", Role::Viewer, None, time(1)).await.unwrap(), "the name is taken");
    for name in ["", "a b", "ü", "a/b", "a\0", &"x".repeat(65)] {
        assert!(store.create_user(name, Role::User, None, time(0)).await.is_err(), "{name:?}");
        assert_eq!(store.user(name).await.unwrap(), None, "{name:?}");
    }
    let ada = store.user("ada").await.unwrap().unwrap();
    assert_eq!((ada.role, ada.generation, ada.created_at), (Role::Admin, time(0).timestamp_micros(), time(0)));
    assert_eq!(store.user("Ada").await.unwrap(), None, "names are told apart by case");

    let etl = Scope::Dag("etl".into());
    let tag = Scope::Tag("flights".into());
    store.grant("ada", &grant(etl.clone(), Access::Read)).await.unwrap();
    store.grant("ada", &grant(etl.clone(), Access::Edit)).await.unwrap();
    store.grant("ada", &grant(tag.clone(), Access::Read)).await.unwrap();
    let grants = vec![grant(etl.clone(), Access::Edit), grant(tag, Access::Read)];
    assert_eq!(store.users().await.unwrap()[0].grants, grants);
    assert!(store.grant("bob", &grants[0]).await.is_err(), "nobody of that name");
    assert!(store.revoke("ada", &etl).await.unwrap());
    assert!(!store.revoke("ada", &etl).await.unwrap());

    assert!(store.set_role("ada", Role::Op).await.unwrap());
    assert!(store.set_password_hash("ada", "$argon2id$another").await.unwrap());
    let ada = store.user("ada").await.unwrap().unwrap();
    assert_eq!((ada.role, ada.generation, ada.grants.len()), (Role::Op, time(0).timestamp_micros() + 1, 1));
    assert_eq!(ada.password_hash.as_deref(), Some("$argon2id$another"));
    assert!(!store.set_role("bob", Role::Op).await.unwrap());
    assert!(store.delete_user("ada").await.unwrap());
    assert!(!store.delete_user("ada").await.unwrap());
}

async fn sessions_end(store: Store) {
    user(&store, "ada", Role::User).await;
    user(&store, "bob", Role::User).await;
    for (hash, name) in [("h1", "ada"), ("h2", "ada"), ("h3", "bob")] {
        store.begin_session(hash, name, Some("127.0.0.1"), time(100), time(1)).await.unwrap();
    }
    let whose = async |hash, at| store.session_user(hash, time(at)).await.unwrap().map(|user| user.name);
    assert_eq!(whose("h1", 99).await.as_deref(), Some("ada"));
    assert_eq!(whose("h1", 100).await, None, "it has expired");
    assert_eq!(whose("nope", 1).await, None);
    assert_eq!(store.user("ada").await.unwrap().unwrap().last_login_at, Some(time(1)));
    assert!(store.end_session("h1").await.unwrap());
    assert!(!store.end_session("h1").await.unwrap());
    assert_eq!(whose("h1", 2).await, None, "it was revoked");
    store.set_password_hash("ada", "$new").await.unwrap();
    assert_eq!(whose("h2", 2).await, None, "another password ends all sessions");
    assert_eq!(whose("h3", 2).await.as_deref(), Some("bob"));
    store.delete_user("bob").await.unwrap();
    assert_eq!(whose("h3", 2).await, None, "so does the end of the user");
}

async fn tokens_expire_and_are_revoked(store: Store) {
    user(&store, "ada", Role::User).await;
    let new = |hash: &str, name: &str, expires| NewToken {
        hash: hash.into(),
        name: name.into(),
        user: "ada".into(),
        role: Some(Role::Viewer),
        expires_at: expires,
    };
    let id = store.create_token(&new("h1", "ci", Some(time(100))), time(0)).await.unwrap().expect("the name is free");
    assert_eq!(store.create_token(&new("h2", "ci", None), time(0)).await.unwrap(), None, "the name is taken");
    assert!(store.create_token(&NewToken { user: "bob".into(), ..new("h3", "x", None) }, time(0)).await.is_err());
    let used = async |at| store.token_user("h1", time(at)).await.unwrap();
    let (token, owner) = used(10).await.expect("it is valid");
    assert_eq!((token.id, token.role, owner.name.as_str()), (id, Some(Role::Viewer), "ada"));
    assert_eq!(used(100).await, None, "it has expired");
    assert_eq!(store.tokens().await.unwrap()[0].last_used_at, Some(time(10)));
    used(30).await.unwrap();
    assert_eq!(store.tokens().await.unwrap()[0].last_used_at, Some(time(10)), "noted once a minute");
    used(70).await.unwrap();
    assert_eq!(store.tokens().await.unwrap()[0].last_used_at, Some(time(70)));
    assert!(store.revoke_token(id, time(80)).await.unwrap());
    assert!(!store.revoke_token(id, time(81)).await.unwrap());
    assert_eq!(used(82).await, None, "it was revoked");
    assert!(store.create_token(&new("h4", "ci", None), time(83)).await.unwrap().is_some(), "the name is free again");
}

async fn a_link_lets_in_once(store: Store) {
    user(&store, "ada", Role::User).await;
    let expires = time(900);
    store.create_login_link("h1", "ada", expires, time(0)).await.unwrap();
    store.create_login_link("h2", "ada", expires, time(0)).await.unwrap();
    assert!(store.create_login_link("h3", "bob", expires, time(0)).await.is_err());
    let (one, other) = tokio::join!(store.take_login_link("h1", time(1)), store.take_login_link("h1", time(1)));
    let names: Vec<String> = [one, other].into_iter().filter_map(|taken| Some(taken.unwrap()?.name)).collect();
    assert_eq!(names, ["ada"], "of two at once, one gets in");
    assert_eq!(store.take_login_link("h2", expires).await.unwrap(), None, "it has expired");
}

async fn servers_agree_on_a_key(store: Store) {
    let (one, other) = tokio::join!(store.signing_key(), store.signing_key());
    let key = one.unwrap();
    assert_eq!((key.len(), &key), (64, &other.unwrap()));
    assert_eq!(store.signing_key().await.unwrap(), key);
}

async fn grants_narrow_lists(store: Store) {
    sync(&store, wide("a", 1, |spec| spec.tags = vec!["flights".into()])).await;
    sync(&store, wide("b", 1, |spec| spec.tags = vec!["flights2".into()])).await;
    sync(&store, wide("c", 1, |_| {})).await;
    for dag_id in ["a", "b", "c"] {
        manual(&store, dag_id).await;
    }
    let seen = async |grants: &[Grant]| {
        let among = store.granted_dags(grants).await.unwrap();
        let dags = DagFilter { among: Some(among.clone()), limit: 9, ..DagFilter::default() };
        let dags = store.dags(&dags).await.unwrap();
        let runs = RunFilter { among: Some(among), limit: 9, ..RunFilter::default() };
        let runs = store.runs(&runs).await.unwrap();
        assert_eq!((dags.total, runs.total), (dags.items.len() as u64, dags.items.len() as u64));
        dags.items.into_iter().map(|dag| dag.dag_id).collect::<String>()
    };
    assert_eq!(seen(&[]).await, "");
    assert_eq!(seen(&[grant(Scope::Tag("flights".into()), Access::Read)]).await, "a");
    let both = [grant(Scope::Tag("flights".into()), Access::Read), grant(Scope::Dag("c".into()), Access::Edit)];
    assert_eq!(seen(&both).await, "ac");
    assert_eq!(seen(&[grant(Scope::Dag("nope".into()), Access::Read)]).await, "");
}

async fn events_are_kept_and_found(store: Store) {
    let event = |event: &str, dag_id: Option<&str>, owner: &str| NewEvent {
        event: event.into(),
        owner: Some(owner.into()),
        dag_id: dag_id.map(str::to_owned),
        extra: Some("{\"a\":\"\\u0000\"}".into()),
        ..NewEvent::default()
    };
    let trigger = NewEvent {
        run_id: Some("r\0".into()),
        task_id: Some("t".into()),
        map_index: Some(-1),
        try_number: Some(2),
        logical_date: Some(time(5)),
        ..event("trigger_dag_run", Some("etl"), "ada")
    };
    let batch = [
        (time(1), trigger),
        (time(2), event("patch_dag", Some("etl_2"), "bob")),
        (time(3), event("login", None, "bob")),
    ];
    store.record_events(&batch).await.unwrap();
    store.record_events(&[]).await.unwrap();
    let all = EventFilter { limit: 10, ..EventFilter::default() };
    let page = store.events(&all).await.unwrap();
    assert_eq!(page.total, 3);
    let first = &page.items[0];
    assert_eq!((first.at, first.what.run_id.as_deref()), (time(1), Some("r\u{fffd}")));
    assert_eq!((first.what.logical_date, first.what.try_number), (Some(time(5)), Some(2)));
    let found = async |filter: EventFilter| {
        let page = store.events(&filter).await.unwrap();
        page.items.into_iter().map(|record| record.what.event.chars().next().unwrap()).collect::<String>()
    };
    for (filter, expected) in [
        (EventFilter { order: vec![(EventColumn::At, true)], ..all.clone() }, "lpt"),
        (EventFilter { order: vec![(EventColumn::Owner, false)], limit: 2, ..all.clone() }, "tp"),
        (EventFilter { offset: 2, ..all.clone() }, "l"),
        (EventFilter { dag_id: Some("etl".into()), ..all.clone() }, "t"),
        (EventFilter { like: vec![(EventColumn::DagId, Like::Part("ETL_".into()))], ..all.clone() }, "p"),
        (EventFilter { like: vec![(EventColumn::DagId, Like::Start("etl_".into()))], ..all.clone() }, "p"),
        (EventFilter { like: vec![(EventColumn::DagId, Like::Start("tl".into()))], ..all.clone() }, ""),
        (EventFilter { owner: Some("bob".into()), ..all.clone() }, "pl"),
        (EventFilter { included: vec!["login".into(), "patch_dag".into()], ..all.clone() }, "pl"),
        (EventFilter { excluded: vec!["login".into()], ..all.clone() }, "tp"),
        (EventFilter { after: Some(time(1)), before: Some(time(3)), ..all.clone() }, "p"),
        (EventFilter { of_dags: true, ..all.clone() }, "tp"),
        (EventFilter { map_index: Some(-1), try_number: Some(2), task_id: Some("t".into()), ..all.clone() }, "t"),
        (EventFilter { id: Some(first.id), ..all.clone() }, "t"),
        (EventFilter { event: Some("nope".into()), ..all.clone() }, ""),
    ] {
        assert_eq!(found(filter.clone()).await, expected, "{filter:?}");
    }
}

both!(
    users_are_kept,
    sessions_end,
    tokens_expire_and_are_revoked,
    a_link_lets_in_once,
    servers_agree_on_a_key,
    grants_narrow_lists,
    events_are_kept_and_found,
);
