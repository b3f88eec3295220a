//! A workspace with real keys: admits devices and seals entries.

use kithdb_log::*;

pub(crate) const START_UNIX_MS: u64 = 1_800_000_000_000;

pub(crate) struct TestWorkspace {
    pub founder: DeviceKeys,
    pub membership: Membership,
    secret: EpochSecret,
    blinding: BlindingSecret,
    count: u8,
}

/// Who seals, and what it knows.
pub(crate) struct Writer<'a> {
    pub keys: &'a DeviceKeys,
    pub membership: &'a Membership,
    pub incarnation: IncarnationId,
}

pub(crate) fn device(number: u8) -> DeviceKeys {
    DeviceKeys::from_seeds([number; 32], [number ^ 0x40; 32], [number ^ 0x80; 32])
}

impl TestWorkspace {
    pub fn new() -> Self {
        let founder = device(1);
        let (secret, blinding) = (EpochSecret::from_bytes([21; 32]), BlindingSecret::from_bytes([22; 32]));
        let genesis = AdminOperation::genesis(&founder, secret.id(), [23; 32], "founder", START_UNIX_MS).unwrap();
        let membership = Membership::from_genesis(genesis.workspace_id(), genesis).unwrap();
        Self { founder, membership, secret, blinding, count: 1 }
    }

    pub fn id(&self) -> WorkspaceId {
        self.membership.workspace()
    }

    /// Signs an invite on top of `membership` and adds it there.
    pub fn invite(&mut self, owner: &DeviceKeys, membership: &mut Membership, role: Role) -> Ticket {
        self.count += 1;
        let secret = InviteSecret::from_bytes([self.count; 32]);
        let expires_unix_ms = START_UNIX_MS + 3_600_000;
        let operation = membership.invite(owner, secret.key(), role, expires_unix_ms, START_UNIX_MS).unwrap();
        membership.add(operation).unwrap();
        Ticket {
            workspace: self.id(),
            inviter: owner.author(),
            role,
            secret,
            expires_unix_ms,
            addresses: vec![],
            frontier: membership.frontier(),
            epoch: self.secret.id(),
        }
    }

    /// Signs what lets a device in, on top of `membership`, and adds it there.
    pub fn admit(
        &self,
        owner: &DeviceKeys,
        membership: &mut Membership,
        request: &JoinRequest,
        now_unix_ms: u64,
    ) -> Result<AdminOperation, AdminError> {
        let wrapped =
            wrap_secrets(&self.secret, &self.blinding, self.id(), request.author, &request.exchange_key, [9; 32]);
        let operation = membership.admit(owner, request, wrapped.unwrap(), now_unix_ms)?;
        membership.add(operation.clone())?;
        Ok(operation)
    }

    /// Makes device `number` a member in `membership`, on the word of `owner`.
    pub fn add_to(&mut self, owner: &DeviceKeys, membership: &mut Membership, number: u8, role: Role) -> DeviceKeys {
        let keys = device(number);
        let ticket = self.invite(owner, membership, role);
        let request = ticket.secret.request(self.id(), &keys, &format!("device {number}")).unwrap();
        self.admit(owner, membership, &request, START_UNIX_MS).unwrap();
        keys
    }

    /// Makes device `number` a member that everybody made later knows.
    pub fn add(&mut self, number: u8, role: Role) -> DeviceKeys {
        let mut membership = self.membership.clone();
        let founder = self.founder.clone();
        let keys = self.add_to(&founder, &mut membership, number, role);
        self.membership = membership;
        keys
    }

    /// Returns the id of lane number `lane`.
    pub fn lane(&self, lane: u8) -> LaneId {
        BlindingSecret::lane_id(&self.blinding.blind_table(TableId::from_bytes([lane; 16])), &[])
    }

    /// Finds the number of a lane.
    pub fn lane_number(&self, lane: LaneId) -> u8 {
        (0..=u8::MAX).find(|number| self.lane(*number) == lane).expect("a lane of the test's")
    }

    /// Seals the entry after `last` in lane number `lane`.
    pub fn seal(
        &self,
        writer: &Writer<'_>,
        lane: u8,
        last: Option<&SealedEntry>,
        payload: &[u8],
        clock: Hlc,
    ) -> SealedEntry {
        let Writer { keys, membership, incarnation } = *writer;
        let table = TableId::from_bytes([lane; 16]);
        let scope_key = self.secret.scope_key(table, None);
        let content_key = ContentKey::from_bytes([lane; 32]);
        let opening = StreamOpening::seal(&content_key, self.blinding.blind_table(table), &scope_key, &[]);
        let stream = StreamId { author: keys.author(), incarnation, lane: opening.lane_id() };
        let sequence = last.map_or(SequenceNumber::new(1), |last| last.header.sequence.next());
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&sequence.get().to_le_bytes());
        nonce[8..].copy_from_slice(incarnation.as_bytes());
        seal(SealInput {
            workspace: self.id(),
            stream,
            sequence,
            previous: last.map_or(EntryHash::default(), SealedEntry::hash),
            frontier: membership.frontier_for(keys.author()),
            epoch: self.secret.id(),
            clock,
            opening: last.is_none().then_some(opening),
            payload,
            content_key: &content_key,
            keys,
            nonce,
        })
        .unwrap()
    }
}
