'use strict';
// A running peer: it keeps the database's file in step with others until it is closed.

const { EventEmitter } = require('events');
const { failure } = require('./mailbox');

// Whoever listens at an address knows it, or that it cannot be had, before others can do anything with it.
const SETTLED = new Set(['listening', 'listen-failed']);

class Peer extends EventEmitter {
	#addon;
	#mailbox;
	#number;
	#letGo;
	#addresses = [];
	#closed;
	#onClosed;
	#onListening;

	/** Starts a peer; resolves when it runs, and listens if it is to. */
	static start(addon, mailbox, file, { keepAlive = true, ...options }) {
		return new Promise((resolve, reject) => {
			const letGo = mailbox.hold();
			const number = mailbox.add((kind, value) => {
				if (kind === 'failed') {
					mailbox.remove(number);
					letGo();
					reject(failure(value));
					return;
				}
				const peer = new Peer(addon, mailbox, number, value.peerId, letGo);
				const ready = () => {
					if (!keepAlive) letGo();
					resolve(peer);
				};
				mailbox.replace(number, (kind, value) => peer.#receive(kind, value));
				if (options.listen === false) ready();
				else peer.#onListening = ready;
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

	constructor(addon, mailbox, number, id, letGo) {
		super();
		this.#addon = addon;
		this.#mailbox = mailbox;
		this.#number = number;
		this.#letGo = letGo;
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
		this.#addon.peerClose(this.#number);
		return this.#closed;
	}

	#receive(kind, value) {
		if (kind === 'closed') {
			this.#mailbox.remove(this.#number);
			this.#addon.peerClose(this.#number);
			this.#letGo();
			this.#onClosed();
			this.#settle();
			this.emit('close');
			return;
		}
		const { event, ...about } = value;
		const name = event.replaceAll('_', '-');
		if (name === 'listening') this.#addresses.push(about.address);
		if (SETTLED.has(name)) this.#settle();
		if (name === 'failed') this.emit('error', failure({ code: 'KITH_STOPPED', message: about.reason }));
		else this.emit(name, camel(about));
	}

	#settle() {
		this.#onListening?.();
		this.#onListening = undefined;
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
