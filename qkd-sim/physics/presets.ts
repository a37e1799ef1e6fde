export type PresetName = 'metro';
