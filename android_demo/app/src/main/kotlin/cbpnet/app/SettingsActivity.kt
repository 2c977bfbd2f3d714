package cbpnet.app

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.Spinner
import android.widget.TextView
import cbpnet.core.AnotherMakerException
import cbpnet.core.InputException
import cbpnet.core.MinisignSignature

/** Threads, epochs and the bundle. */
class SettingsActivity : Activity() {
    private lateinit var bundle: TextView
    private lateinit var builtIn: Button
    private val showState = ::show

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.settings)
        bundle = view(R.id.settings_bundle)
        builtIn = view(R.id.settings_built_in)
        val threads = Settings.THREAD_CHOICES.map { if (it == 0) getString(R.string.automatic) else it.toString() }
        choices(R.id.settings_threads, threads, Settings.THREAD_CHOICES.indexOf(demo.settings.threads)) {
            demo.settings.threads = Settings.THREAD_CHOICES[it]
            whenIdle { demo.learner.open() }
        }
        val epochs = Settings.EPOCH_CHOICES.map { if (it == 0) getString(R.string.bundles_own) else it.toString() }
        choices(R.id.settings_epochs, epochs, Settings.EPOCH_CHOICES.indexOf(demo.settings.epochs)) {
            demo.settings.epochs = Settings.EPOCH_CHOICES[it]
        }
        view<Button>(R.id.settings_choose).setOnClickListener {
            val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("*/*").addCategory(Intent.CATEGORY_OPENABLE)
                .putExtra(Intent.EXTRA_ALLOW_MULTIPLE, true) // its signature too
            whenIdle { startActivityForResult(pick, BUNDLE) }
        }
        builtIn.setOnClickListener { whenIdle { demo.learner.open { demo.bundles.useBuiltIn() } } }
    }

    override fun onStart() {
        super.onStart()
        demo.learner.state.observe(showState)
    }

    override fun onStop() {
        demo.learner.state.ignore(showState)
        super.onStop()
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val several = data?.clipData
        val documents = when {
            several != null -> List(several.itemCount) { several.getItemAt(it).uri }
            else -> listOfNotNull(data?.data)
        }
        if (documents.isNotEmpty()) choose(documents, accepted = false)
    }

    /** What is no bundle, or not from whom it should be, is refused before the learner is touched. */
    private fun choose(documents: List<Uri>, accepted: Boolean) {
        var question: String? = null
        inBackground({
            val (signatures, bundles) = documents.partition(::isSignature)
            if (bundles.size != 1 || signatures.size > 1) throw InputException(getString(R.string.one_bundle))
            val signature = signatures.singleOrNull()?.let { MinisignSignature.parse(String(readDocument(it))) }
            try {
                contentResolver.openInputStream(bundles.single())?.use { demo.bundles.choose(it, signature, accepted) }
            } catch (error: AnotherMakerException) {
                question = error.message
            }
        }) {
            val asked = question
            if (asked == null) demo.learner.open() else confirm(asked, R.string.use_it) { choose(documents, accepted = true) }
        }
    }

    private fun isSignature(document: Uri): Boolean {
        val start = ByteArray(START)
        contentResolver.openInputStream(document)?.use { it.read(start) }
        return MinisignSignature.beginsSo(start)
    }

    private fun show(state: LearnerState) {
        builtIn.isEnabled = demo.bundles.isChosen && demo.bundles.hasBuiltIn
        bundle.text = when (state) {
            LearnerState.Opening -> getString(R.string.opening)
            LearnerState.NoBundle -> getString(R.string.no_bundle)
            is LearnerState.Failed -> state.message
            is LearnerState.Ready -> state.session.manifest.let {
                getString(R.string.bundle_in_use, it.backbone.name, it.precision, it.classes)
            }
        }
    }

    /** A lesson holds on to its bundle. */
    private fun whenIdle(action: () -> Unit) {
        if (demo.lesson.state.value is LessonState.Running) say(getString(R.string.wait_for_lesson)) else action()
    }

    private fun choices(id: Int, texts: List<String>, first: Int, onChosen: (Int) -> Unit) {
        var current = first
        view<Spinner>(id).apply {
            adapter = ArrayAdapter(this@SettingsActivity, android.R.layout.simple_spinner_item, texts)
                .apply { setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item) }
            setSelection(first)
            onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
                    if (position != current) onChosen(position)
                    current = position
                }

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
        }
    }

    private companion object {
        const val BUNDLE = 5
        const val START = 32 // bytes of a document that tell a signature
    }
}
