import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Call, CallView } from '../realtime/call';

const CallContext = createContext<Call | null>(null);

/** One call for the whole page, so that reading History does not hang up. */
export const CallProvider = CallContext.Provider;

export function useCall(): Call {
  const call = useContext(CallContext);
  if (call === null) throw new Error('useCall needs a CallProvider above it');
  return call;
}

export function useCallView(): CallView {
  const call = useCall();
  return useSyncExternalStore(call.subscribe, call.snapshot);
}
