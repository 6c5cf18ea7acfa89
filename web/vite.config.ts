import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a running server. */
const server = 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  build: {
    // `light-dark()` and nesting are used as written: the browsers that have them are those with the WebRTC we need.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // A data: URL would need a wider content security policy than 'self'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { '/v1': server, '/api': server, '/health': server },
  },
  test: {
    environment: 'node',
    include: ['src/**/*.test.ts'],
  },
});
