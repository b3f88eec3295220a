// The same for `import`: one module, whichever way it is loaded.
import promises from './index.js';

export default promises;
export const { open, connect, Database, Statement, SqliteError } = promises;
