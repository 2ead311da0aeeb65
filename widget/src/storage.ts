// The browser's storage, which may be blocked, full or shared with other tabs: what it refuses is kept in memory.

/** Prefix of everything that the script stores, and the name of the cookie and its mirror. */
export const cookieName = '__ca__chat';

const memory: Record<string, any> = {};

export function get(name: string): string | null {
  try {
    return memory[name] || localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function set(name: string, value: any): void {
  try {
    localStorage.setItem(name, value);
    delete memory[name];
  } catch {
    memory[name] = value;
  }
}

export function remove(name: string): void {
  delete memory[name];
  try {
    localStorage.removeItem(name);
  } catch {
    // Blocked: it was in memory only.
  }
}

/** The stored names with a prefix, sorted. */
export function names(prefix: string): string[] {
  let all = Object.keys(memory);
  try {
    all = all.concat(Object.keys(localStorage));
  } catch {
    // Blocked: memory is all there is.
  }
  return all.filter((name) => name.startsWith(prefix)).sort();
}
