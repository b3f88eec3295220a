'use strict';
// Objects without prototype, made so that they are fast to make and to read.

/** Tells whether `__proto__` can be set: `--disable-proto` takes that away. */
function canSet() {
	try {
		const probe = {};
		probe.__proto__ = null;
		return Object.getPrototypeOf(probe) === null;
	} catch {
		return false;
	}
}

const canSetPrototype = canSet();

/** Returns an empty object without prototype. */
const bare = canSetPrototype
	? () => {
		const made = {};
		made.__proto__ = null;
		return made;
	}
	: () => Object.create(null);

module.exports = { bare, canSetPrototype };
