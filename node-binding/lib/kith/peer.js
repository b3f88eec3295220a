'use strict';
// A running peer: it keeps the database's file in step with others until it is closed.

const { EventEmitter } = require('events');
const { failure } = require('./mailbox');

// Whoever listens at an address knows it, or that it cannot be had, before others can do anything with it.
const SETTLED = new Set(['listening', 'listen-failed', 'close']);

class Peer extends EventEmitter {
	#addon;
	#mailbox;
	#number;
	#letGo;
	#onEvent;
	#addresses = [];
	#closed;
	#onClosed;
	#onReady;
	// What happens before anybody can listen for it.
	#early = [];

	/** Starts a peer; resolves when it runs, and listens if it is to. */
	static start(addon, mailbox, file, { keepAlive = true, ...options }, onEvent) {
		return new Promise((resolve, reject) => {
			const letGo = mailbox.hold();
			const number = mailbox.add((kind, value) => {
				if (kind === 'failed') {
					mailbox.remove(number);
					addon.peerClose(number);
					letGo();
					reject(failure(value));
					return;
				}
				const peer = new Peer(addon, mailbox, number, value.peerId, letGo, onEvent);
				const ready = () => {
					if (!keepAlive) letGo();
					resolve(peer);
				};
				mailbox.replace(number, (kind, value) => peer.#receive(kind, value));
				peer.#onReady = ready;
				if (options.listen === false) peer.#settle();
			});
			try {
				addon.peerOpen(number, file, JSON.stringify(options));
			} catch (error) {
				mailbox.remove(number);
				letGo();
				reject(error);
			}
		});
	}

	constructor(addon, mailbox, number, id, letGo, onEvent) {
		super();
		this.#addon = addon;
		this.#mailbox = mailbox;
		this.#number = number;
		this.#letGo = letGo;
		this.#onEvent = onEvent;
		this.#closed = new Promise((resolve) => {
			this.#onClosed = resolve;
		});
		Object.defineProperty(this, 'id', { value: id, enumerable: true });
	}

	/** Where others can reach this peer, as far as it is known yet. */
	get addresses() {
		return [...this.#addresses];
	}

	/** Asks how the peer stands: its sessions, what was sent and received, the addresses that led to none. */
	async status() {
		const status = await this.#mailbox.ask((question) => this.#addon.peerStatus(this.#number, question));
		return { ...camel(status), sessions: status.sessions.map(camel) };
	}

	/** Seals and sends what is pending and ends; takes at most some seconds. */
	close() {
		// Whoever waits for the end has the program wait too.
		this.#closed.finally(this.#mailbox.hold());
		this.#addon.peerClose(this.#number);
		return this.#closed;
	}

	#receive(kind, value) {
		const { event, ...about } = kind === 'closed' ? { event: 'close' } : value;
		const name = event.replaceAll('_', '-');
		if (name === 'listening') this.#addresses.push(about.address);
		if (name === 'close') this.#end();
		if (this.#early) this.#early.push([name, about]);
		else this.#tell(name, about);
		if (SETTLED.has(name)) this.#settle();
	}

	#end() {
		this.#mailbox.remove(this.#number);
		this.#addon.peerClose(this.#number);
		this.#letGo();
		this.#onClosed();
	}

	#settle() {
		this.#onReady?.();
		if (this.#onReady) setImmediate(() => this.#tellEarly());
		this.#onReady = undefined;
	}

	/** Tells one after the other, each in a turn of its own. */
	#tellEarly() {
		const next = this.#early.shift();
		if (this.#early.length > 0) setImmediate(() => this.#tellEarly());
		else this.#early = undefined;
		if (next) this.#tell(...next);
	}

	#tell(name, about) {
		this.#onEvent(name, { event: name, peerId: this.id, ...camel(about) });
		if (name === 'failed') this.emit('error', failure({ code: 'KITH_STOPPED', message: about.reason }));
		else if (name === 'close') this.emit('close');
		else this.emit(name, camel(about));
	}
}

Peer.prototype[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')] = function asyncDispose() {
	return this.close();
};

/** Names the fields of an object as JavaScript does. */
function camel(object) {
	const named = ([key, value]) => [key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), value];
	return Object.fromEntries(Object.entries(object).map(named));
}

module.exports = Peer;
