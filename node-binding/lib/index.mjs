// The same for `import`: one module, whichever way it is loaded.
import Database from './index.js';

export default Database;
export const SqliteError = Database.SqliteError;
export { Database };
