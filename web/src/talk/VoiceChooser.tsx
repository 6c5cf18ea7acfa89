import { useQuery } from '@tanstack/react-query';
import { AudioLines, ChevronDown } from 'lucide-react';
import { useEffect } from 'react';
import { useTranslation } from 'react-i18next';
import { listVoices } from '../api/voices';
import { useCall } from '../app/call-context';
import { keys } from '../app/query-keys';
import { chooseVoice, useChosenVoice } from '../app/voice-choice';
import { languageName } from '../ui/format';
import styles from './VoiceChooser.module.css';

/** Who answers. During a call the next reply comes in the voice that is chosen. Takes its room before the list has come. */
export function VoiceChooser({ disabled }: { disabled: boolean }) {
  const { t, i18n } = useTranslation();
  const call = useCall();
  const chosen = useChosenVoice();
  const { data, isError } = useQuery({ queryKey: keys.voices, queryFn: ({ signal }) => listVoices(signal) });
  const usable = data?.filter(({ state }) => state === 'ready') ?? [];
  const standard = usable.find(({ isDefault }) => isDefault);
  const gone = data !== undefined && chosen !== null && !usable.some(({ voice }) => voice === chosen);

  // A voice that was deleted elsewhere would have the call refused.
  useEffect(() => {
    if (gone) chooseVoice(null);
  }, [gone]);

  // A server that has no such list has nothing to choose from.
  if (isError && data === undefined) return null;
  const choose = (voice: string) => {
    chooseVoice(voice === standard?.voice || voice === '' ? null : voice);
    call.setVoice(voice === '' ? (standard?.voice ?? null) : voice);
  };
  const groups = (['profile', 'preset'] as const)
    .map((kind) => ({ kind, voices: usable.filter((voice) => voice.kind === kind) }))
    .filter(({ voices }) => voices.length > 0);

  return (
    <label className={styles.chooser} data-ready={usable.length > 1}>
      <AudioLines size={16} aria-hidden="true" />
      <span className="visually-hidden">{t('talk.voice')}</span>
      <select
        data-testid="voice-chooser"
        disabled={disabled || usable.length < 2}
        value={gone ? '' : (chosen ?? standard?.voice ?? '')}
        onChange={({ target }) => choose(target.value)}
      >
        {standard === undefined && <option value="">{t('talk.voiceDefault')}</option>}
        {groups.map(({ kind, voices }) => (
          <optgroup key={kind} label={t(kind === 'profile' ? 'voices.own' : 'voices.built')}>
            {voices.map(({ id, voice, name, language }) => (
              <option key={id} value={voice}>
                {language === null ? name : t('talk.voiceIn', { name, language: languageName(language, i18n.language) })}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
      <ChevronDown size={16} aria-hidden="true" />
    </label>
  );
}
