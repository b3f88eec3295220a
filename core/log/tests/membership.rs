//! The graph of admin operations: who may change it, and that the order of arrival never matters.

use kithdb_log::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const NOW: u64 = 1_800_000_000_000;
const LATER: u64 = NOW + 3_600_000;

/// Keeps cases that failed beside this file.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seeds([seed; 32], [seed ^ 0x80; 32], [seed; 32])
}

fn secrets() -> (EpochSecret, BlindingSecret) {
    (EpochSecret::from_bytes([1; 32]), BlindingSecret::from_bytes([2; 32]))
}

/// A workspace founded by device 1.
fn founded() -> Membership {
    let genesis = AdminOperation::genesis(&device(1), secrets().0.id(), [3; 32], "laptop", NOW).unwrap();
    Membership::from_genesis(genesis.workspace_id(), genesis).unwrap()
}

fn invite(membership: &Membership, by: u8, ticket: u8, role: Role) -> Result<AdminOperation, AdminError> {
    membership.invite(&device(by), InviteSecret::from_bytes([ticket; 32]).key(), role, LATER, NOW)
}

fn admit(membership: &Membership, by: u8, ticket: u8, who: u8) -> Result<AdminOperation, AdminError> {
    admit_at(membership, by, ticket, who, NOW)
}

fn admit_at(membership: &Membership, by: u8, ticket: u8, who: u8, now: u64) -> Result<AdminOperation, AdminError> {
    let ((epoch, blinding), workspace) = (secrets(), membership.workspace());
    let name = format!("device {who}");
    let request = InviteSecret::from_bytes([ticket; 32]).request(workspace, &device(who), &name).unwrap();
    let wrapped = wrap_secrets(&epoch, &blinding, workspace, request.author, &request.exchange_key, [who; 32]).unwrap();
    membership.admit(&device(by), &request, wrapped, now)
}

/// Adds what must hold.
fn add(membership: &mut Membership, operation: Result<AdminOperation, AdminError>) -> AdminOperation {
    let operation = operation.unwrap();
    assert_eq!(membership.add(operation.clone()), Ok(Added::Added));
    operation
}

fn add_invite(membership: &mut Membership, by: u8, ticket: u8, role: Role) -> AdminOperation {
    let operation = invite(membership, by, ticket, role);
    add(membership, operation)
}

fn add_admit(membership: &mut Membership, by: u8, ticket: u8, who: u8) -> AdminOperation {
    let operation = admit(membership, by, ticket, who);
    add(membership, operation)
}

/// Signs an operation as a device that does not judge itself.
fn rogue(membership: &Membership, by: u8, body: AdminBody) -> AdminOperation {
    AdminOperation::sign(&device(by), membership.workspace(), membership.frontier(), NOW, body).unwrap()
}

#[test]
fn device_with_a_ticket_becomes_a_member_and_can_unwrap_the_secrets() {
    let mut membership = founded();
    add_invite(&mut membership, 1, 50, Role::Writer);
    let admission = add_admit(&mut membership, 1, 50, 2);
    let member = membership.get(device(2).author()).unwrap();
    assert_eq!((member.role, member.name.as_str(), member.admitted), (Role::Writer, "device 2", admission.hash()));
    assert_eq!(membership.members().count(), 2);
    assert_eq!(membership.epoch(), secrets().0.id());
    let AdminBody::Admit { wrapped, .. } = &admission.body else { panic!("an admission") };
    let (epoch, _) = unwrap_secrets(wrapped, &device(2), membership.workspace(), membership.epoch()).unwrap();
    assert_eq!(epoch, secrets().0);
    assert_eq!(AdminOperation::decode(&admission.encode()), Ok(admission));
}

#[test]
fn forged_genesis_is_refused() {
    let membership = founded();
    let workspace = membership.workspace();
    let other = AdminOperation::genesis(&device(9), secrets().0.id(), [3; 32], "laptop", NOW).unwrap();
    let found = other.workspace_id();
    assert_eq!(
        Membership::from_genesis(workspace, other.clone()).unwrap_err(),
        AdminError::Workspace { found, expected: workspace }
    );
    assert_eq!(membership.clone().add(other.clone()), Err(AdminError::Workspace { found, expected: workspace }));
    // A genesis in another's name: it has an id of its own, and nobody signed it.
    let mut forged = other;
    forged.author = device(1).author();
    let id = forged.workspace_id();
    assert_eq!(Membership::from_genesis(id, forged).unwrap_err(), AdminError::Signature { author: device(1).author() });
    let body = AdminBody::Invite {
        invite_key: InviteSecret::from_bytes([1; 32]).key(),
        role: Role::Owner,
        expires_unix_ms: LATER,
    };
    let no_genesis = rogue(&membership, 1, body);
    assert_eq!(Membership::from_genesis(workspace, no_genesis).unwrap_err(), AdminError::NoGenesis);
}

#[test]
fn operation_with_an_unknown_parent_waits_for_it() {
    let mut membership = founded();
    let mut behind = membership.clone();
    let invited = add_invite(&mut membership, 1, 50, Role::Writer);
    let admitted = add_admit(&mut membership, 1, 50, 2);
    assert_eq!(behind.add(admitted.clone()), Ok(Added::MissingParents(vec![invited.hash()])));
    assert!(!behind.contains(&admitted.hash()));
    let mut forged = admitted.clone();
    forged.author = device(2).author();
    assert!(matches!(behind.add(forged), Err(AdminError::Signature { .. })), "even before its parents are known");
    assert_eq!(behind.add(invited), Ok(Added::Added));
    assert_eq!(behind.add(admitted.clone()), Ok(Added::Added));
    assert_eq!(behind.add(admitted), Ok(Added::AlreadyKnown));
    assert_eq!(behind.set_hash(), membership.set_hash());
}

#[test]
fn writer_neither_invites_nor_admits_nor_grants_itself_more() {
    let mut membership = founded();
    add_invite(&mut membership, 1, 50, Role::Writer);
    add_admit(&mut membership, 1, 50, 2);
    add_invite(&mut membership, 1, 51, Role::Owner);
    let not_an_owner = AdminError::NotAnOwner { author: device(2).author(), role: Role::Writer };
    assert_eq!(invite(&membership, 2, 60, Role::Writer), Err(not_an_owner.clone()));
    assert_eq!(admit(&membership, 2, 51, 2), Err(not_an_owner.clone()), "itself, with an owner's ticket");
    assert_eq!(admit(&membership, 2, 51, 3), Err(not_an_owner.clone()));
    let body = AdminBody::Invite {
        invite_key: InviteSecret::from_bytes([60; 32]).key(),
        role: Role::Owner,
        expires_unix_ms: LATER,
    };
    let operation = rogue(&membership, 2, body.clone());
    assert_eq!(membership.add(operation), Err(not_an_owner));
    let operation = rogue(&membership, 9, body);
    assert_eq!(membership.add(operation), Err(AdminError::NotAMember { author: device(9).author() }));
}

#[test]
fn writers_membership_does_not_reach_back() {
    let mut membership = founded();
    let before = membership.frontier();
    add_invite(&mut membership, 1, 50, Role::Owner);
    add_admit(&mut membership, 1, 50, 2);
    let body = AdminBody::Invite {
        invite_key: InviteSecret::from_bytes([60; 32]).key(),
        role: Role::Owner,
        expires_unix_ms: LATER,
    };
    let early = AdminOperation::sign(&device(2), membership.workspace(), before.clone(), NOW, body).unwrap();
    assert_eq!(membership.add(early), Err(AdminError::NotAMember { author: device(2).author() }));
    assert_eq!(membership.allowed_at(device(2).author(), &before), Err(NotAllowed::UnknownAuthor));
    assert_eq!(membership.allowed_at(device(2).author(), &[]), Err(NotAllowed::UnknownAuthor));
    assert_eq!(membership.allowed_at(device(2).author(), &membership.frontier()), Ok(Role::Owner));
    assert_eq!(membership.allowed_at(device(1).author(), &before), Ok(Role::Owner));
    let unknown = AdminHash::from_bytes([7; 32]);
    assert_eq!(
        membership.allowed_at(device(1).author(), &[before[0], unknown]),
        Err(NotAllowed::UnknownFrontier(unknown))
    );
}

#[test]
fn ticket_lets_one_device_in_once() {
    let mut membership = founded();
    add_invite(&mut membership, 1, 50, Role::Writer);
    add_admit(&mut membership, 1, 50, 2);
    assert_eq!(admit(&membership, 1, 50, 3), Err(AdminError::InviteUsed));
    add_invite(&mut membership, 1, 51, Role::Writer);
    assert_eq!(admit(&membership, 1, 51, 2), Err(AdminError::AlreadyMember { author: device(2).author() }));
    assert_eq!(admit(&membership, 1, 52, 3), Err(AdminError::InviteUnknown));
}

#[test]
fn expired_ticket_lets_nobody_in() {
    let mut membership = founded();
    add_invite(&mut membership, 1, 50, Role::Writer);
    let expired = AdminError::InviteExpired { expires_unix_ms: LATER };
    assert_eq!(admit_at(&membership, 1, 50, 2, LATER + 1), Err(expired));
    assert!(admit_at(&membership, 1, 50, 2, LATER).is_ok());
}

#[test]
fn admission_without_the_tickets_secret_is_refused() {
    let mut membership = founded();
    let invited = add_invite(&mut membership, 1, 50, Role::Writer);
    let honest = admit(&membership, 1, 50, 2).unwrap();
    let AdminBody::Admit { author, exchange_key, proof, wrapped, .. } = honest.body else { panic!("an admission") };
    let body = |author, exchange_key, role, proof| AdminBody::Admit {
        invite: invited.hash(),
        author,
        exchange_key,
        role,
        device_name: "device".into(),
        proof,
        wrapped,
    };
    let workspace = membership.workspace();
    let wrong = InviteSecret::from_bytes([51; 32]).prove(workspace, author, &exchange_key);
    let refused = [
        (body(author, exchange_key, Role::Writer, wrong), AdminError::Proof),
        (body(device(3).author(), exchange_key, Role::Writer, proof), AdminError::Proof),
        (body(author, device(3).exchange_key(), Role::Writer, proof), AdminError::Proof),
        (
            body(author, exchange_key, Role::Owner, proof),
            AdminError::InviteRole { given: Role::Writer, asked: Role::Owner },
        ),
        (body(AuthorId::default(), exchange_key, Role::Writer, proof), AdminError::WeakKey { what: "admitted device" }),
    ];
    for (body, error) in refused {
        let operation = rogue(&membership, 1, body);
        assert_eq!(membership.add(operation), Err(error));
    }
    assert_eq!(membership.members().count(), 1);
}

#[test]
fn operation_of_another_workspace_is_refused() {
    let mut membership = founded();
    let genesis = AdminOperation::genesis(&device(1), secrets().0.id(), [4; 32], "laptop", NOW).unwrap();
    let mut other = Membership::from_genesis(genesis.workspace_id(), genesis).unwrap();
    let invited = add_invite(&mut other, 1, 50, Role::Owner);
    let error = AdminError::Workspace { found: other.workspace(), expected: membership.workspace() };
    assert_eq!(membership.add(invited), Err(error));
}

#[test]
fn every_flipped_bit_of_an_operation_is_refused() {
    let mut membership = founded();
    add_invite(&mut membership, 1, 50, Role::Writer);
    let mut bytes = admit(&membership, 1, 50, 2).unwrap().encode();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(operation) = AdminOperation::decode(&bytes) {
            assert_eq!(operation.encode(), bytes, "two encodings of one operation");
            assert!(membership.add(operation).is_err(), "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..bytes.len() {
        assert!(AdminOperation::decode(&bytes[..len]).is_err());
    }
}

/// Two owners who do not know of each other let two devices in with one ticket; the second goes on to invite.
fn double_admission() -> (Membership, Vec<AdminOperation>) {
    let mut base = founded();
    add_invite(&mut base, 1, 50, Role::Owner);
    add_admit(&mut base, 1, 50, 2);
    add_invite(&mut base, 1, 51, Role::Owner);
    let (mut left, mut right) = (base.clone(), base.clone());
    let mut operations = vec![add_admit(&mut left, 1, 51, 3), add_admit(&mut right, 2, 51, 4)];
    // Whoever falls takes along what only they entitle.
    operations.push(add_invite(&mut left, 3, 53, Role::Writer));
    operations.push(add_invite(&mut right, 4, 54, Role::Writer));
    operations.push(add_admit(&mut left, 3, 53, 5));
    operations.push(add_admit(&mut right, 4, 54, 6));
    (base, operations)
}

#[test]
fn of_two_concurrent_uses_of_a_ticket_the_smaller_hash_stands() {
    let (base, operations) = double_admission();
    let mut all = base.clone();
    for operation in &operations {
        assert_eq!(all.add(operation.clone()), Ok(Added::Added));
    }
    let left_stands = operations[0].hash() < operations[1].hash();
    let (standing, fallen) = if left_stands { ([3, 5], [4, 6]) } else { ([4, 6], [3, 5]) };
    for who in standing {
        assert!(all.get(device(who).author()).is_some(), "{who}");
        assert!(all.allowed_at(device(who).author(), &all.frontier()).is_ok());
    }
    for who in fallen {
        assert!(all.get(device(who).author()).is_none(), "{who}");
        assert_eq!(all.allowed_at(device(who).author(), &all.frontier()), Err(NotAllowed::Fallen));
        // What it wrote before it could know holds everywhere, whatever arrived in between.
        let own = operations.iter().rfind(|operation| match &operation.body {
            AdminBody::Admit { author, .. } => *author == device(who).author(),
            _ => false,
        });
        assert!(all.allowed_at(device(who).author(), &[own.unwrap().hash()]).is_ok());
    }
    assert_eq!(admit(&all, 1, 51, 7), Err(AdminError::InviteUsed));
}

#[test]
fn frontier_stays_within_its_limit_and_covers_its_author() {
    let mut base = founded();
    add_invite(&mut base, 1, 50, Role::Owner);
    let mut all = base.clone();
    let admitted = add(&mut all, admit(&base, 1, 50, 2));
    // Twenty concurrent invites on deeper branches than the admission.
    for ticket in 100..120 {
        let mut branch = base.clone();
        for step in 0..2u8 {
            let operation = invite(&branch, 1, ticket + step * 30, Role::Writer).unwrap();
            branch.add(operation.clone()).unwrap();
            all.add(operation).unwrap();
        }
    }
    assert_eq!(all.heads().count(), 21);
    let frontier = all.frontier_for(device(2).author());
    assert_eq!(frontier.len(), limits::FRONTIER_MAX);
    assert!(all.covers(&frontier, &[admitted.hash()]));
    assert_eq!(all.allowed_at(device(2).author(), &frontier), Ok(Role::Owner));
    assert!(invite(&all, 2, 200, Role::Writer).is_ok());
}

#[test]
fn operations_after_a_frontier_are_what_it_lacks() {
    let mut membership = founded();
    let before = membership.frontier();
    let invited = add_invite(&mut membership, 1, 50, Role::Writer);
    let admitted = add_admit(&mut membership, 1, 50, 2);
    assert_eq!(membership.operations_after(&before), [&invited, &admitted]);
    assert_eq!(membership.operations_after(&[invited.hash()]), [&admitted]);
    assert!(membership.operations_after(&membership.frontier()).is_empty());
    assert_eq!(membership.operations_after(&[AdminHash::default()]).len(), 3);
    assert!(membership.covers(&membership.frontier(), &before));
    assert!(!membership.covers(&before, &membership.frontier()));
}

/// Delivers operations in an order of choice, again and again until none is missing its parents.
fn deliver(base: &Membership, operations: &[AdminOperation], order: &[usize]) -> Membership {
    let mut membership = base.clone();
    let mut waiting: Vec<_> = order.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|&index| match membership.add(operations[index].clone()) {
            Ok(Added::MissingParents(_)) => true,
            Ok(_) => false,
            Err(error) => panic!("an operation that held elsewhere is refused: {error}"),
        });
        assert!(waiting.len() < before, "no progress");
    }
    membership
}

/// What a replica shows about its members.
fn shown(membership: &Membership) -> (Vec<Member>, [u8; 32], Vec<AdminHash>) {
    (membership.members().cloned().collect(), membership.set_hash(), membership.frontier())
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn concurrent_uses_of_a_ticket_end_alike_in_any_order(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let (base, operations) = double_admission();
        let reference = deliver(&base, &operations, &[0, 1, 2, 3, 4, 5]);
        prop_assert_eq!(shown(&deliver(&base, &operations, &order)), shown(&reference));
    }

    /// Several replicas act on what they know, exchange a little, and in the end all know all, in different orders.
    #[test]
    fn members_do_not_depend_on_the_order_of_arrival(
        actions in proptest::collection::vec((0usize..3, 0u8..4, prop_oneof![3 => Just(1u8), 2 => 2u8..8], 0u8..5), 1..40),
        seed in any::<prop::sample::Index>(),
    ) {
        let base = founded();
        let mut replicas = [base.clone(), base.clone(), base.clone()];
        let mut operations: Vec<AdminOperation> = Vec::new();
        for (replica, what, by, ticket) in actions {
            let ticket = 50 + ticket;
            let made = match what {
                0 => invite(&replicas[replica], by, ticket, Role::Owner),
                1 | 2 => admit(&replicas[replica], by, ticket, ticket - 48 + by % 2),
                _ => {
                    let (from, to) = (replica, (replica + 1) % 3);
                    let known: Vec<_> = replicas[to].heads().copied().collect();
                    let news: Vec<_> = replicas[from].operations_after(&known).into_iter().cloned().collect();
                    for operation in news {
                        prop_assert!(!matches!(replicas[to].add(operation), Ok(Added::MissingParents(_)) | Err(_)));
                    }
                    continue;
                }
            };
            if let Ok(operation) = made {
                prop_assert_eq!(replicas[replica].add(operation.clone()).is_ok(), true);
                operations.push(operation);
            }
        }
        let forward: Vec<_> = (0..operations.len()).collect();
        let mut backward = forward.clone();
        backward.reverse();
        let mut rotated = forward.clone();
        if !rotated.is_empty() {
            rotated.rotate_left(seed.index(operations.len()));
        }
        let reference = deliver(&base, &operations, &forward);
        prop_assert_eq!(shown(&deliver(&base, &operations, &backward)), shown(&reference));
        prop_assert_eq!(shown(&deliver(&base, &operations, &rotated)), shown(&reference));
        // The verdict on an entry is the same wherever its frontier is known.
        for replica in &replicas {
            for who in 1..12 {
                let author = device(who).author();
                let frontier = replica.frontier_for(author);
                prop_assert_eq!(replica.allowed_at(author, &frontier), reference.allowed_at(author, &frontier));
            }
        }
    }
}
