//! Who belongs to a workspace: the graph of admin operations and what it comes to.
//!
//! An operation is judged once, in its causal past (its ancestors in the graph), so that everyone takes and refuses the
//! same ones in whatever order they come. What the operations come to together is resolved over all that are known, in the
//! order of (depth, hash): of concurrent admissions by one invite the first in that order stands, the others fall, and with
//! them whatever only they entitle.
//!
//! Invariants:
//! 1. Two replicas with the same operations have the same members, in whatever order the operations came.
//! 2. An operation's parents are known before it is, so the order of arrival is a topological order.
//! 3. The founder stays an owner: there is always one.
//! 4. A verdict about an entry depends on its author and its frontier's past only, never on what else is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::{AdminBody, AdminError, AdminOperation, Role};
use crate::device::DeviceKeys;
use crate::ids::{AdminHash, AuthorId, EpochId, ExchangeKey, InviteKey, WorkspaceId, WrappedSecrets, derive};
use crate::limits::{ADMIN_OPERATIONS_MAX, FRONTIER_MAX};
use crate::ticket::{JoinRequest, verify_invite_proof};

/// A device that belongs to the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The device.
    pub author: AuthorId,
    /// Its key for wrapped secrets.
    pub exchange_key: ExchangeKey,
    /// What it may do.
    pub role: Role,
    /// The name it goes by.
    pub name: String,
    /// The operation that let it in; the genesis for the founder.
    pub admitted: AdminHash,
}

/// What became of an operation that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is new and counts.
    Added,
    /// It was known.
    AlreadyKnown,
    /// It was not taken yet: these of its parents are not known.
    MissingParents(Vec<AdminHash>),
}

/// Reports that a device may not write, as far as an entry's frontier knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// The entry names an admin operation that has not arrived.
    #[error("the admin operation {0} has not arrived yet")]
    UnknownFrontier(AdminHash),
    /// The frontier does not include the author's admission.
    #[error("the author was not admitted in the entry's admin frontier")]
    UnknownAuthor,
    /// The author's admission lost to another use of the same invite.
    #[error("the author's invite was used by another device first")]
    Fallen,
}

/// A set of operations by their place in the order of arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places(Vec<u64>);

impl Places {
    fn insert(&mut self, place: usize) {
        if self.0.len() <= place / 64 {
            self.0.resize(place / 64 + 1, 0);
        }
        self.0[place / 64] |= 1 << (place % 64);
    }
    fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
    fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[derive(Debug, Clone)]
struct Known {
    operation: AdminOperation,
    hash: AdminHash,
    /// The longest way from the genesis.
    depth: u32,
    /// The ancestors, without the operation itself.
    past: Places,
}

/// What a set of operations comes to.
#[derive(Debug, Clone, Default)]
struct View {
    /// The standing admissions of each device, in (depth, hash) order: their places and roles.
    admissions: BTreeMap<AuthorId, Vec<(usize, Role)>>,
    /// The standing invites.
    invites: BTreeSet<usize>,
    /// The invites that let a device in.
    used: BTreeSet<usize>,
    /// How many operations do not count.
    fallen: usize,
}

impl View {
    /// Returns what the device may do as far as `past` knows.
    fn role_in(&self, author: &AuthorId, past: &Places) -> Option<Role> {
        let admissions = self.admissions.get(author)?;
        admissions.iter().filter(|(place, _)| past.contains(*place)).map(|(_, role)| *role).min()
    }
}

/// The admin operations of a workspace and its members.
#[derive(Debug, Clone)]
pub struct Membership {
    workspace: WorkspaceId,
    /// In order of arrival.
    known: Vec<Known>,
    places: BTreeMap<AdminHash, usize>,
    heads: BTreeSet<AdminHash>,
    /// Every place, by (depth, hash).
    order: BTreeSet<(u32, AdminHash)>,
    view: View,
    members: BTreeMap<AuthorId, Member>,
}

impl Membership {
    /// Begins with the genesis, which must be the one the workspace is named after.
    pub fn from_genesis(workspace: WorkspaceId, genesis: AdminOperation) -> Result<Self, AdminError> {
        if !matches!(genesis.body, AdminBody::Genesis { .. }) {
            return Err(AdminError::NoGenesis);
        }
        let found = genesis.workspace_id();
        if found != workspace {
            return Err(AdminError::Workspace { found, expected: workspace });
        }
        genesis.verify()?;
        let mut membership = Self {
            workspace,
            known: Vec::new(),
            places: BTreeMap::new(),
            heads: BTreeSet::new(),
            order: BTreeSet::new(),
            view: View::default(),
            members: BTreeMap::new(),
        };
        membership.insert(genesis, Places::default());
        Ok(membership)
    }

    /// Takes in an operation if it holds and its parents are known.
    pub fn add(&mut self, operation: AdminOperation) -> Result<Added, AdminError> {
        let hash = operation.hash();
        if self.places.contains_key(&hash) {
            return Ok(Added::AlreadyKnown);
        }
        let found = operation.workspace_id();
        if found != self.workspace {
            return Err(AdminError::Workspace { found, expected: self.workspace });
        }
        let unknown = operation.parents.iter().filter(|parent| !self.places.contains_key(parent));
        let missing: Vec<_> = unknown.copied().collect();
        if !missing.is_empty() {
            // An author that is not known might be let in by what is missing, so only the signature can be judged yet.
            operation.verify()?;
            return Ok(Added::MissingParents(missing));
        }
        if self.known.len() >= ADMIN_OPERATIONS_MAX {
            return Err(AdminError::TooMany { max: ADMIN_OPERATIONS_MAX });
        }
        let past = self.past_of(&operation.parents);
        self.judge(&operation, &past)?;
        self.insert(operation, past);
        Ok(Added::Added)
    }

    /// Returns the workspace's id.
    pub const fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Returns the epoch that secrets belong to.
    pub fn epoch(&self) -> EpochId {
        match self.known.first().map(|known| &known.operation.body) {
            Some(AdminBody::Genesis { epoch, .. }) => *epoch,
            _ => EpochId::default(),
        }
    }

    /// Finds a member.
    pub fn get(&self, author: AuthorId) -> Option<&Member> {
        self.members.get(&author)
    }

    /// Lists the members in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Tells whether an operation is known.
    pub fn contains(&self, hash: &AdminHash) -> bool {
        self.places.contains_key(hash)
    }

    /// Finds an operation.
    pub fn operation(&self, hash: &AdminHash) -> Option<&AdminOperation> {
        self.places.get(hash).map(|&place| &self.known[place].operation)
    }

    /// Lists the operations, each after its parents.
    pub fn operations(&self) -> impl Iterator<Item = &AdminOperation> {
        self.known.iter().map(|known| &known.operation)
    }

    /// Lists the operations that are neither named by `known` nor in their past, each after its parents; hashes that are
    /// not known here make no difference.
    pub fn operations_after(&self, known: &[AdminHash]) -> Vec<&AdminOperation> {
        let past = self.past_of(known);
        let missing = self.known.iter().enumerate().filter(|(place, _)| !past.contains(*place));
        missing.map(|(_, known)| &known.operation).collect()
    }

    /// Lists all operations that no other has as a parent, in ascending order.
    pub fn heads(&self) -> impl Iterator<Item = &AdminHash> {
        self.heads.iter()
    }

    /// Returns the heads, ascending; the 16 deepest if there are more.
    pub fn frontier(&self) -> Vec<AdminHash> {
        let mut heads: Vec<_> = self.heads.iter().copied().collect();
        if heads.len() > FRONTIER_MAX {
            heads.sort_unstable_by_key(|hash| std::cmp::Reverse((self.depth_of(hash), *hash)));
            heads.truncate(FRONTIER_MAX);
            heads.sort_unstable();
        }
        heads
    }

    /// Returns the frontier that an entry or operation of this device names: it always includes the device's admission.
    pub fn frontier_for(&self, author: AuthorId) -> Vec<AdminHash> {
        let mut frontier = self.frontier();
        if let Some(member) = self.members.get(&author)
            && !self.covers(&frontier, &[member.admitted])
            && let Some(head) = self.heads.iter().find(|&&head| self.covers(&[head], &[member.admitted]))
        {
            frontier.truncate(FRONTIER_MAX - 1);
            frontier.push(*head);
            frontier.sort_unstable();
        }
        frontier
    }

    /// Tells whether every one of `older` is named by `newer` or in its past; so must each entry's frontier be to that of
    /// the entry before.
    pub fn covers(&self, newer: &[AdminHash], older: &[AdminHash]) -> bool {
        let past = self.past_of(newer);
        older.iter().all(|hash| self.places.get(hash).is_some_and(|&place| past.contains(place)))
    }

    /// Tells what the author of an entry may do, as the entry's frontier knows it.
    ///
    /// A device whose admission falls to a concurrent one keeps what it wrote before its frontier knew of the other.
    pub fn allowed_at(&self, author: AuthorId, frontier: &[AdminHash]) -> Result<Role, NotAllowed> {
        if let Some(unknown) = frontier.iter().find(|hash| !self.places.contains_key(hash)) {
            return Err(NotAllowed::UnknownFrontier(*unknown));
        }
        // Where nothing has fallen, nothing has fallen in any part of it either.
        if self.view.fallen == 0 {
            let admissions = self.view.admissions.get(&author).ok_or(NotAllowed::UnknownAuthor)?;
            let known = admissions.iter().filter(|(place, _)| {
                frontier.iter().any(|hash| {
                    self.places.get(hash).is_some_and(|head| head == place || self.known[*head].past.contains(*place))
                })
            });
            return known.map(|(_, role)| *role).min().ok_or(NotAllowed::UnknownAuthor);
        }
        let past = self.past_of(frontier);
        let admitted = self.known.iter().enumerate().any(|(place, known)| {
            past.contains(place)
                && matches!(&known.operation.body, AdminBody::Admit { author: admitted, .. } if *admitted == author)
        });
        let role = self.resolve(Some(&past)).role_in(&author, &past);
        role.ok_or(if admitted { NotAllowed::Fallen } else { NotAllowed::UnknownAuthor })
    }

    /// Hashes the set of known operations, so that two replicas can tell at once whether theirs are the same.
    pub fn set_hash(&self) -> [u8; 32] {
        let hashes: Vec<&[u8]> = self.places.keys().map(|hash| hash.as_bytes() as &[u8]).collect();
        derive("kithdb 2026 admin set v1", &hashes)
    }

    /// Finds the invite of a ticket by its public key, if it stands.
    pub fn find_invite(&self, invite_key: &InviteKey) -> Option<(AdminHash, Role)> {
        self.view.invites.iter().find_map(|&place| match &self.known[place].operation.body {
            AdminBody::Invite { invite_key: known, role, .. } if known == invite_key => {
                Some((self.known[place].hash, *role))
            }
            _ => None,
        })
    }

    /// Signs an invite; the operation still has to be added.
    pub fn invite(
        &self,
        keys: &DeviceKeys,
        invite_key: InviteKey,
        role: Role,
        expires_unix_ms: u64,
        now_unix_ms: u64,
    ) -> Result<AdminOperation, AdminError> {
        self.sign(keys, now_unix_ms, AdminBody::Invite { invite_key, role, expires_unix_ms })
    }

    /// Signs the admission that a device asks for; the operation still has to be added.
    pub fn admit(
        &self,
        keys: &DeviceKeys,
        request: &JoinRequest,
        wrapped: WrappedSecrets,
        now_unix_ms: u64,
    ) -> Result<AdminOperation, AdminError> {
        let (invite, role) = self.find_invite(&request.invite_key).ok_or(AdminError::InviteUnknown)?;
        let body = AdminBody::Admit {
            invite,
            author: request.author,
            exchange_key: request.exchange_key,
            role,
            device_name: request.device_name.clone(),
            proof: request.proof,
            wrapped,
        };
        self.sign(keys, now_unix_ms, body)
    }

    /// Signs an operation on top of all that is known and judges it as others will.
    fn sign(&self, keys: &DeviceKeys, now_unix_ms: u64, body: AdminBody) -> Result<AdminOperation, AdminError> {
        let mut parents = self.frontier_for(keys.author());
        if let AdminBody::Admit { invite, .. } = &body
            && !self.covers(&parents, &[*invite])
            && let Some(head) = self.heads.iter().find(|&&head| self.covers(&[head], &[*invite]))
        {
            let own = self.members.get(&keys.author()).map(|member| member.admitted);
            let spare = parents.iter().position(|parent| !own.is_some_and(|own| self.covers(&[*parent], &[own])));
            parents.swap_remove(spare.unwrap_or(0));
            parents.push(*head);
        }
        let operation = AdminOperation::sign(keys, self.workspace, parents, now_unix_ms, body);
        let operation = operation.map_err(AdminError::Malformed)?;
        self.judge(&operation, &self.past_of(&operation.parents))?;
        Ok(operation)
    }

    /// Judges an operation in its causal past.
    fn judge(&self, operation: &AdminOperation, past: &Places) -> Result<(), AdminError> {
        operation.verify()?;
        let restricted;
        let view = if past.len() == self.known.len() {
            &self.view
        } else {
            restricted = self.resolve(Some(past));
            &restricted
        };
        let author = operation.author;
        match view.role_in(&author, past) {
            Some(Role::Owner) => {}
            Some(role) => return Err(AdminError::NotAnOwner { author, role }),
            None => return Err(AdminError::NotAMember { author }),
        }
        let AdminBody::Admit { invite, author, exchange_key, role, proof, .. } = &operation.body else {
            return Ok(());
        };
        let place = self.places.get(invite).filter(|place| view.invites.contains(place));
        let &place = place.ok_or(AdminError::InviteUnknown)?;
        let AdminBody::Invite { invite_key, role: given, expires_unix_ms } = &self.known[place].operation.body else {
            return Err(AdminError::InviteUnknown);
        };
        if operation.clock_unix_ms > *expires_unix_ms {
            return Err(AdminError::InviteExpired { expires_unix_ms: *expires_unix_ms });
        }
        if view.used.contains(&place) {
            return Err(AdminError::InviteUsed);
        }
        if role != given {
            return Err(AdminError::InviteRole { given: *given, asked: *role });
        }
        if view.role_in(author, past).is_some() {
            return Err(AdminError::AlreadyMember { author: *author });
        }
        verify_invite_proof(invite_key, self.workspace, *author, exchange_key, proof).map_err(|_| AdminError::Proof)
    }

    /// Resolves what the known operations, or those in `within`, come to.
    fn resolve(&self, within: Option<&Places>) -> View {
        let mut view = View::default();
        for (_, hash) in &self.order {
            if let Some(&place) = self.places.get(hash)
                && within.is_none_or(|within| within.contains(place))
            {
                self.count(&mut view, place);
            }
        }
        view
    }

    /// Counts one operation, given all before it in the order of (depth, hash).
    fn count(&self, view: &mut View, place: usize) {
        let known = &self.known[place];
        let entitled = view.role_in(&known.operation.author, &known.past) == Some(Role::Owner);
        let counts = match &known.operation.body {
            AdminBody::Genesis { .. } => {
                view.admissions.entry(known.operation.author).or_default().push((place, Role::Owner));
                true
            }
            AdminBody::Invite { .. } => entitled && view.invites.insert(place),
            AdminBody::Admit { invite, author, role, .. } => {
                let invite = self.places.get(invite).filter(|invite| view.invites.contains(invite));
                // The first use in this order stands; a later one in its past was refused before it came here.
                let counts = entitled && invite.is_some_and(|invite| view.used.insert(*invite));
                if counts {
                    view.admissions.entry(*author).or_default().push((place, *role));
                }
                counts
            }
        };
        if !counts {
            view.fallen += 1;
        }
    }

    fn insert(&mut self, operation: AdminOperation, past: Places) {
        let hash = operation.hash();
        let depth = operation.parents.iter().map(|parent| self.depth_of(parent) + 1).max().unwrap_or(0);
        let place = self.known.len();
        for parent in &operation.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(hash);
        self.places.insert(hash, place);
        let is_last = self.order.last().is_none_or(|last| *last < (depth, hash));
        self.order.insert((depth, hash));
        self.known.push(Known { operation, hash, depth, past });
        if is_last {
            let mut view = std::mem::take(&mut self.view);
            self.count(&mut view, place);
            self.view = view;
            let author = match &self.known[place].operation {
                AdminOperation { body: AdminBody::Admit { author, .. }, .. } => *author,
                AdminOperation { author, .. } => *author,
            };
            if let Some(member) = self.member_of(author) {
                self.members.insert(author, member);
            }
        } else {
            self.view = self.resolve(None);
            let members = self.view.admissions.keys().filter_map(|author| Some((*author, self.member_of(*author)?)));
            self.members = members.collect();
        }
    }

    fn member_of(&self, author: AuthorId) -> Option<Member> {
        let admissions = self.view.admissions.get(&author)?;
        let role = admissions.iter().map(|(_, role)| *role).min()?;
        let known = self.known.get(admissions.first()?.0)?;
        match &known.operation.body {
            AdminBody::Genesis { exchange_key, device_name, .. }
            | AdminBody::Admit { exchange_key, device_name, .. } => {
                let (name, admitted) = (device_name.clone(), known.hash);
                Some(Member { author, exchange_key: *exchange_key, role, name, admitted })
            }
            AdminBody::Invite { .. } => None,
        }
    }

    fn depth_of(&self, hash: &AdminHash) -> u32 {
        self.places.get(hash).map_or(0, |&place| self.known[place].depth)
    }

    /// Collects the named operations and all their ancestors.
    fn past_of(&self, hashes: &[AdminHash]) -> Places {
        let mut past = Places::default();
        for &place in hashes.iter().filter_map(|hash| self.places.get(hash)) {
            past.insert(place);
            past.extend(&self.known[place].past);
        }
        past
    }
}
