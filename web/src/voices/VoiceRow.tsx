import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Check, Pencil, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { deleteVoice, renameVoice, sampleOf, type Voice } from '../api/voices';
import { useCall } from '../app/call-context';
import { keys } from '../app/query-keys';
import { chooseVoice, useChosenVoice } from '../app/voice-choice';
import { Confirm } from '../ui/Confirm';
import { languageName } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { Menu } from '../ui/Menu';
import { Player } from '../ui/Player';
import { toast } from '../ui/toast';
import { useRefusal } from './refusal';
import styles from './VoicesPage.module.css';

const NAME_LIMIT = 60;

/** One voice: how it sounds, how far it is, and whether it is the one to talk with. */
export function VoiceRow({ voice }: { voice: Voice }) {
  const { t, i18n } = useTranslation();
  const say = useRefusal();
  const client = useQueryClient();
  const call = useCall();
  const chosen = useChosenVoice();
  const [editing, setEditing] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const { id, name, kind, state, reason, engine, language, durationMs } = voice;
  const inUse = chosen === null ? voice.isDefault : chosen === voice.voice;

  const rename = useMutation({
    mutationFn: (next: string) => renameVoice(id, next),
    onSuccess: (_, next) => {
      client.setQueryData<Voice[]>(keys.voices, (known) => known?.map((other) => (other.id === id ? { ...other, name: next } : other)));
      setEditing(false);
    },
  });
  const remove = useMutation({
    mutationFn: () => deleteVoice(id),
    onSuccess: () => {
      if (chosen === voice.voice) chooseVoice(null);
      client.setQueryData<Voice[]>(keys.voices, (known) => known?.filter((other) => other.id !== id));
      toast({ text: t('voices.deleted', { name }) });
    },
  });
  const use = () => {
    const next = voice.isDefault ? null : voice.voice;
    chooseVoice(next);
    call.setVoice(voice.voice);
    toast({ text: t('voices.using', { name }) });
  };
  const facts = [language === null ? null : languageName(language, i18n.language), engine].filter((fact) => fact !== null);

  return (
    <li className={styles.voice} data-testid="voice" data-kind={kind} data-state={state} data-in-use={inUse}>
      <div className={styles.title}>
        {editing ? (
          <InlineEdit
            label={t('voices.name')}
            value={name}
            maxLength={NAME_LIMIT}
            busy={rename.isPending}
            problem={rename.isError ? say(rename.error) : null}
            testid="voice-rename"
            onSave={(next) => (next === name ? setEditing(false) : rename.mutate(next))}
            onCancel={() => {
              rename.reset();
              setEditing(false);
            }}
          />
        ) : (
          <>
            <h3>{name}</h3>
            {facts.length > 0 && <p className={styles.facts}>{facts.join(' · ')}</p>}
          </>
        )}
        {state !== 'ready' && (
          <p className={styles.state} data-state={state} data-testid="voice-state">
            <span aria-hidden="true" />
            {t(`voices.state.${state}`)}
          </p>
        )}
        {reason !== null && state !== 'ready' && <p className={styles.reason}>{reason}</p>}
      </div>
      <Player
        src={sampleOf(id)}
        durationMs={durationMs}
        label={t('voices.listen', { name })}
        testid="play-voice"
        tone={kind === 'profile' ? 'caller' : 'avatar'}
      />
      <div className={styles.tools}>
        {inUse ? (
          <p className={styles.inUse} data-testid="voice-in-use">
            <Check size={16} aria-hidden="true" />
            {t('voices.inUse')}
          </p>
        ) : (
          <button
            type="button"
            className="button small"
            data-testid="use-voice"
            aria-label={t('voices.useNamed', { name })}
            disabled={state !== 'ready'}
            onClick={use}
          >
            {t('voices.use')}
          </button>
        )}
        {kind === 'profile' && (
          <Menu
            label={t('voices.actions', { name })}
            testid="voice-menu"
            items={[
              { key: 'rename', label: t('voices.rename'), icon: Pencil, run: () => setEditing(true) },
              { key: 'delete', label: t('voices.delete'), icon: Trash2, danger: true, run: () => setDeleting(true) },
            ]}
          />
        )}
      </div>
      <Confirm
        open={deleting}
        title={t('voices.deleteTitle', { name })}
        body={t('voices.deleteBody')}
        action={t('voices.delete')}
        busy={remove.isPending}
        problem={remove.isError ? say(remove.error) : null}
        onConfirm={() => remove.mutate()}
        onCancel={() => {
          remove.reset();
          setDeleting(false);
        }}
      />
    </li>
  );
}
