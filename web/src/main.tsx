import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { getConversation } from './api/conversations';
import { iceServers } from './api/ice';
import { App } from './app/App';
import { CallProvider } from './app/call-context';
import { applyLanguage, firstLanguage } from './app/preferences';
import { queries } from './app/queries';
import { chosenVoice } from './app/voice-choice';
import { startTranslation } from './i18n';
import { Call } from './realtime/call';
import { connect, end, openMicrophone } from './realtime/connection';
import { installDiagnostics } from './realtime/diagnostics';
import { HealthProvider } from './status/health-context';
import './styles/tokens.css';
import './styles/base.css';

const language = firstLanguage();
startTranslation(language);
applyLanguage(language);
installDiagnostics();

// Outside React: the sound of a call goes on while views come and go.
const speaker = document.createElement('audio');
speaker.autoplay = true;
speaker.hidden = true;
document.body.append(speaker);

const call = new Call(speaker, {
  connect,
  end,
  openMicrophone,
  iceServers,
  history: getConversation,
  voice: chosenVoice,
  chance: Math.random,
});

const root = document.getElementById('root');
if (root === null) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <CallProvider value={call}>
        <HealthProvider>
          <App />
        </HealthProvider>
      </CallProvider>
    </QueryClientProvider>
  </StrictMode>,
);
