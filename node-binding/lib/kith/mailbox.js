'use strict';
// What native code does beside JavaScript is asked for under a number; what comes of it arrives here as [number, kind, value].

const mailboxes = new WeakMap();

class Mailbox {
	#addon;
	#receivers = new Map();
	#last = 0;

	constructor(addon) {
		this.#addon = addon;
		// Each message has a turn of its own, so that what a promise lets run comes before the next message.
		addon.peerListen((messages) => {
			for (const [number, kind, value] of JSON.parse(messages)) setImmediate(() => this.#receivers.get(number)?.(kind, value));
		});
	}

	/** Gives a receiver a number, under which it is told `(kind, value)`. */
	add(receiver) {
		this.#last += 1;
		this.#receivers.set(this.#last, receiver);
		return this.#last;
	}

	/** Has another receiver be told from here on. */
	replace(number, receiver) {
		this.#receivers.set(number, receiver);
	}

	remove(number) {
		this.#receivers.delete(number);
	}

	/** Keeps the program from ending until the function that is returned is called. */
	hold() {
		this.#addon.peerHold(true);
		let isHeld = true;
		return () => {
			if (isHeld) this.#addon.peerHold(false);
			isHeld = false;
		};
	}

	/** Asks something that is answered once, by `done` or `failed`. */
	ask(start) {
		return new Promise((resolve, reject) => {
			const number = this.add((kind, value) => {
				this.remove(number);
				letGo();
				if (kind === 'failed') reject(failure(value));
				else resolve(value);
			});
			const letGo = this.hold();
			try {
				start(number);
			} catch (error) {
				this.remove(number);
				letGo();
				reject(error);
			}
		});
	}
}

/** Makes the error of a failure: its code is stable, its message is for people. */
function failure({ code, message }) {
	return Object.assign(new Error(message), { code });
}

/** Returns the mailbox that the environment has for an addon. */
function mailboxOf(addon) {
	if (!mailboxes.has(addon)) mailboxes.set(addon, new Mailbox(addon));
	return mailboxes.get(addon);
}

module.exports = { mailboxOf, failure };
