import { createContext, useContext, type ReactNode } from 'react';
import { useHealthPolling, type HealthView } from './use-health';

const HealthContext = createContext<HealthView>({ kind: 'checking' });

/** Asks the server how it is, for everything below. */
export function HealthProvider({ children }: { children: ReactNode }) {
  return <HealthContext.Provider value={useHealthPolling()}>{children}</HealthContext.Provider>;
}

/** The server's health as last heard. */
export function useHealth(): HealthView {
  return useContext(HealthContext);
}
