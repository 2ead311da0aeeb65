// Console lines for whoever sets the snippet up: only with civchat.debug, else the script is silent.

export function log(text: string, detail?: unknown): void {
  try {
    if ((window as any).civchat.debug) console.log('civgate: ' + text, detail);
  } catch (e) {
    // No civchat yet, or one that throws.
  }
}

/** Makes a function that never throws into the page. */
export function guard<T extends unknown[]>(work: (...args: T) => void): (...args: T) => void {
  return (...args: T) => {
    try {
      work(...args);
    } catch (e) {
      log('error', e);
    }
  };
}
