'use strict';
// What is behind a `Database` that the user holds: the addon, its handle, the settings.

// A property, so that what inherits from a database, or stands in for it, is one too; its value means nothing to anybody else.
const KEY = Symbol();
const inner = new WeakMap();

/** Puts something behind a database. */
function setInner(database, value) {
	const key = Object.freeze({});
	Object.defineProperty(database, KEY, { value: key });
	inner.set(key, value);
}

/** Returns what is behind a database; anything else is no database. */
function innerOf(database) {
	const found = inner.get(database[KEY]);
	if (found === undefined) throw new TypeError('Illegal invocation');
	return found;
}

module.exports = { setInner, innerOf };
