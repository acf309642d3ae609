"""Notes on a concept's prompts, captions and class images, before they are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..config.concept import ConceptConfig, PriorConfig
from ..errors import visible
from ..prompts.words import host_syntax, naming_words, rare_words, words_of
from .captions import CaptionFiles
from .class_set import set_settings
from .folder import photos_at
from .images import Photo
from .leftovers import folder_notes
from .notes import Note, counted, listed, names_of

__all__ = ["concept_notes", "syntax_notes"]


def concept_notes(concept: ConceptConfig, photos: Sequence[Photo]) -> Iterator[Note]:
    """Yield what may surprise in how a concept's prompts and class images are trained."""
    instance_prompt, prior = concept.instance.instance_prompt, concept.prior
    naming = rare_words(instance_prompt) or naming_words(instance_prompt, prior.class_prompt)
    yield from caption_notes(photos, naming)
    if prior.class_prompt.strip():
        yield from class_prompt_notes(instance_prompt, prior.class_prompt)
    if prior.class_images is not None:
        yield from class_image_notes(prior, [photo.path for photo in photos])


def caption_notes(photos: Sequence[Photo], naming: Sequence[str]) -> Iterator[Note]:
    """Yield a note where captions have none of the words that name the subject."""
    if not naming:
        return
    captioned = [photo for photo in photos if photo.source.file is not None]
    lacking = [
        photo.source.file or photo.path
        for photo in captioned
        if set(naming).isdisjoint(words_of(photo.caption))
    ]
    if lacking:
        words = " ".join(naming)
        yield Note(
            "caption_without_trigger",
            f"{len(lacking)} of {counted(len(captioned), 'caption')} without {visible(words)!r}: "
            f"{names_of(lacking)}.",
            "Add it if it is to show the subject: a captioned photo is not trained with the "
            "instance prompt.",
        )


def class_prompt_notes(instance_prompt: str, class_prompt: str) -> Iterator[Note]:
    """Yield a note where the class prompt names the subject as well."""
    hint = "Leave the rare word out of class_prompt: class images show the class alone."
    rare = set(rare_words(instance_prompt))
    shared = [word for word in rare_words(class_prompt) if word in rare]
    if class_prompt.strip().lower() == instance_prompt.strip().lower():
        yield Note(
            "prompts_alike", f"instance_prompt and class_prompt both are {class_prompt!r}.", hint
        )
    elif shared:
        yield Note("rare_class_word", f"class_prompt contains {listed(shared)!r}.", hint)
    elif not naming_words(instance_prompt, class_prompt):
        yield Note(
            "prompts_alike",
            f"No word of instance_prompt {instance_prompt!r} tells the subject from class_prompt "
            f"{class_prompt!r}.",
            'Add a rare word to instance_prompt, as in "a photo of sks dog".',
        )


def class_image_notes(prior: PriorConfig, photos: Sequence[Path]) -> Iterator[Note]:
    """Yield what there is to say of the user's class images."""
    folder = Path(prior.class_images or "")
    if not prior.enabled:
        missing = "class_prompt is empty" if prior.num_class_images else "num_class_images is 0"
        yield Note(
            "class_images_unused",
            f"class_images {folder} are not trained: {missing}.",
            'Set class_prompt to what they show, such as "a photo of a dog", or remove them.'
            if prior.num_class_images
            else "Set num_class_images, or remove them.",
        )
        return
    images = photos_at(folder)
    yield from class_count_notes(folder, len(images), prior.num_class_images)
    own = {path.resolve() for path in photos}
    if same := [path for path in images if path.resolve() in own]:
        yield Note(
            "class_images_of_subject",
            f"{len(same)} of {counted(len(images), 'class image')} are photos of the subject.",
            "Give images of other members of the class, or leave class_images empty: the base "
            "model then generates them.",
        )
        return  # their captions are the photos' own
    captions = CaptionFiles()
    captioned = [file for path in images for file in captions.of(path)]
    if captioned:
        yield Note(
            "class_captions",
            f"Captions of class images are not used: {names_of(captioned)}.",
            "Class images are trained with class_prompt.",
        )
    if folder.is_dir():
        yield from folder_notes(folder)


def class_count_notes(folder: Path, found: int, wanted: int) -> Iterator[Note]:
    if found < wanted:
        yield Note(
            "few_class_images",
            f"class_images {folder} has {found} of num_class_images {wanted}.",
            "Each is seen more often. Add some, or leave class_images empty: the base model then "
            "generates them.",
        )
    if found > wanted and set_settings(folder) is None:  # a generated set grows by itself
        yield Note(
            "class_images_left_over",
            f"class_images {folder} has {found}; the first {wanted} are used.",
            f"Set num_class_images to {found} to use all.",
        )


def syntax_notes(prompts: Iterable[str]) -> Iterator[Note]:
    """Yield a note where prompts contain what hosts read as syntax and the trainer as text."""
    found = list(dict.fromkeys(part for prompt in prompts for part in host_syntax(prompt)))
    if found:
        yield Note(
            "prompt_syntax",
            f"Prompts contain {listed(found)}: read as plain text.",
            "Hosts read this as syntax. Remove it, or write it with \\ before brackets in the "
            "host's prompts.",
        )
